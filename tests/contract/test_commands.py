"""Every command, found by listing: help, one JSON object where it offers one, one clear line on bad input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from normkit.cli import app
from normkit.listing import names

COMMANDS = [name.replace("_", "-") for name in names("normkit.cli")]


def _normkit(*arguments: str, folder: Path | None = None, timeout: int = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "normkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=folder)


def _command(name: str) -> Any:
    group = typer.main.get_command(app)
    found = group.get_command(typer.Context(group), name)
    assert found is not None
    return found


def _leaves(command: Any) -> list[Any]:
    inner = getattr(command, "commands", None)
    return [leaf for each in inner.values() for leaf in _leaves(each)] if inner else [command]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help_json_and_debug(name: str) -> None:
    command = _command(name)
    assert (command.help or "").strip(), f"{name} has no help"
    for leaf in _leaves(command):
        options = {option for parameter in leaf.params for option in parameter.opts}
        assert {"--json", "--debug"} <= options, f"{leaf.name} lacks --json or --debug"
        bare = [p.name for p in leaf.params if not (p.help or "").strip()]
        assert not bare, f"{leaf.name}: options and arguments without help: {bare}"


def test_help_lists_every_command() -> None:
    done = _normkit("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_one_line_and_code_2(name: str) -> None:
    done = _normkit(name, "--no-such-option")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_an_unknown_command_is_one_line_and_code_2() -> None:
    done = _normkit("no-such-command")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


QUICK = {
    "list": (),
    "show": ("batch-channel-norm",),
    "env": (),
}


@pytest.mark.parametrize(("name", "arguments"), QUICK.items())
def test_quick_commands_print_one_json_object(name: str, arguments: tuple[str, ...]) -> None:
    done = _normkit(name, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    payload = json.loads(done.stdout)
    assert {"schema", "versions", "device", "seconds"} <= payload.keys()
