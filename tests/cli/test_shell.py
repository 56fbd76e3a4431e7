"""The shell: one line for an error, the traceback when asked, one JSON object on stdout, the codes of the house."""

import io
import json
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console

from normkit.cli import _shell


def _run(monkeypatch: pytest.MonkeyPatch, error: BaseException, *arguments: str) -> int:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(_shell, "app", fail)
    monkeypatch.setattr(sys, "argv", ["normkit", *arguments])
    with pytest.raises(SystemExit) as left:
        _shell.main()
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("the\nshape\tis wrong"), 2, "error: the shape is wrong\n"),
        (KeyError("name"), 2, "error: name\n"),
        (FileNotFoundError(2, "No such file", "x.pt"), 2, "error: [Errno 2] No such file: 'x.pt'\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (typer.Abort(), 130, "error: interrupted\n"),
        (typer.BadParameter("not a number"), 2, "error: Invalid value: not a number\n"),
        (RuntimeError("odd"), 2, "error: odd (RuntimeError; --debug shows where)\n"),
        (typer.Exit(3), 3, ""),
    ],
)
def test_an_error_is_one_line_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert _run(monkeypatch, error) == code
    written = capsys.readouterr()
    assert written.err == line
    assert written.out == ""


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, RuntimeError("odd"), "--debug") == 2
    written = capsys.readouterr().err
    assert "Traceback" in written
    assert written.endswith("error: odd\n")


def test_emit_prints_one_object_or_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    def human(console: Console) -> None:
        console.print("for a person")

    _shell.emit({"a": float("inf")}, json=True, seconds=1.0, human=human)
    payload = json.loads(capsys.readouterr().out)
    assert payload["a"] == "inf"
    assert payload["seconds"] == 1.0
    _shell.emit({"a": 1}, json=False, seconds=1.0, human=human)
    assert "for a person" in capsys.readouterr().out


def test_progress_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with _shell.progress("working", total=2) as advance:
        advance()
        advance(description="nearly")
    assert capsys.readouterr().out == ""


def test_the_console_writes_where_stdout_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    _shell.console.print("here")
    assert stream.getvalue() == "here\n"


def test_the_bare_command_prints_its_help_and_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["normkit"])
    with pytest.raises(SystemExit):
        _shell.main()
    said = capsys.readouterr()
    assert "diagnose" in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("slug", "line"),
    [
        ("partial-correlation", "normkit diagnose --data table.csv --probes closed-rows"),
        ("dp-similarity", 'pip install "normkit[private]"'),
    ],
)
def test_what_shows_a_paper_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slug: str, line: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["normkit", "show", slug])
    with pytest.raises(SystemExit):
        _shell.main()
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("diagnosse",), "error: there is no command 'diagnosse': did you mean diagnose?\n"),
        (("private", "bild"), "error: there is no command 'bild': did you mean build?\n"),
        (("zzz",), "error: there is no command 'zzz': there are bench, "),
        (("show", "dp-similarty"), "error: there is no paper 'dp-similarty': did you mean dp-similarity? "),
        (("reproduce", "Batch_Channel_Norm"), "did you mean batch-channel-norm?"),
        (("diagnose", "--probes", "batch-nose"), "error: there is no probe 'batch-nose': did you mean batch-noise?\n"),
        (("convert", "--model", "torch.nn:Tanh", "--to", "fodl"), "there is no rule 'fodl': did you mean fold?"),
        (("compare", "--methods", "group-nrom"), "there is no rule 'group-nrom': did you mean group-norm?"),
        (("data", "info", "minst"), "there is no data set 'minst': did you mean mnist?"),
    ],
)
def test_a_name_that_nothing_bears_is_answered_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["normkit", *arguments])
    with pytest.raises(SystemExit) as left:
        _shell.main()
    said = capsys.readouterr()
    assert (left.value.code, said.out) == (2, "")
    assert line in said.err
    assert said.err.count("\n") == 1
