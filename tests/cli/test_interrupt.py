"""Ctrl-C while a command works: one line, code 130, nothing half-written, no process left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name != "posix", reason="signals are sent the POSIX way")
@pytest.mark.parametrize("command", [("diagnose", "--treat"), ("compare",)])
def test_ctrl_c_in_training(command: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    started = subprocess.Popen(
        [sys.executable, "-m", "normkit", *command, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a child of a background job may inherit an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        _wait_for(out)
        time.sleep(3)  # into the first runs
        started.send_signal(signal.SIGINT)
        stdout, stderr = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130, stderr
    assert stderr.strip().splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in stderr
    assert stdout == ""
    left = {path.name for path in out.rglob("*")}
    assert not {name for name in left if name.endswith(".part") or name in ("report.html", "model.safetensors")}, left


def _wait_for(folder: Path) -> None:
    """The command has read its arguments and begun to work when it has made its folder."""
    until = time.monotonic() + 60
    while not folder.exists():
        assert time.monotonic() < until, "the command did not begin within a minute"
        time.sleep(0.1)
