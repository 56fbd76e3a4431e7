"""Runs this folder, and the shared contract of every kernel, in a process with Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from normkit.kernels.triton.availability import INTERPRETED

pytest.importorskip("triton", reason="Triton's interpreter is not installed")
pytestmark = pytest.mark.skipif(INTERPRETED, reason="this is the process that it starts")
HERE = Path(__file__).parent
CONTRACT = "tests/contract/test_operations.py::test_every_kernel_agrees_with_the_reference"


def _run(*arguments: str | Path) -> str:
    """Output of pytest with the interpreter; the variable must be set before triton is imported anywhere."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment | {"TRITON_INTERPRET": "1"}, cwd=HERE.parents[2]
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_kernels_and_contract() -> None:
    assert " passed" in _run(HERE, CONTRACT)
