"""What every command shares: how commands are found, how an error reads, how a result leaves.

A command is a module `cli/<name>.py` with a function `command` (or a typer app `app` for a group of commands). Its
module is imported only when it is called or when help is asked for, so `normkit list` pays for nothing else.

Exit codes: 0 done, 2 bad input, 130 interrupted, 143 terminated, and what a command says of its own (3: `--fail-on`;
1: `--strict`, `--against`).
"""

import json
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, Never

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from normkit import __version__
from normkit.listing import meant, names

__all__ = ["Debug", "Group", "Json", "app", "console", "emit", "main", "progress", "stderr"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", is_eager=True)]

# typer carries click inside from 0.26 on and beside it before: take what is needed from typer's own names
_UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_INTERRUPTED = 130
_EXPECTED = (ValueError, TypeError, LookupError, OSError, ImportError, ArithmeticError, KeyboardInterrupt)

console = Console()
stderr = Console(stderr=True)


def emit(
    payload: Mapping[str, Any],
    *,
    json: bool,
    seconds: float,
    human: Callable[[Console], None],
    device: str = "cpu",
) -> None:
    """Let a result leave: one JSON object on stdout with `json`, else whatever `human` prints on the console."""
    from normkit.report import envelope

    if json:
        _print_json(envelope(payload, seconds=seconds, device=device))
    else:
        human(console)


def _print_json(payload: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(payload, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, silent where that is no terminal; yields `advance(steps=1, description, total)`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # lines printed meanwhile go above the bar where both are on one terminal, and to stdout where that is a file
    together = sys.stdout.isatty()
    with Progress(
        *columns, console=stderr, transient=True, disable=not stderr.is_terminal, redirect_stdout=together
    ) as bar:
        task = bar.add_task(description, total=total)

        def advance(steps: int = 1, description: str | None = None, total: int | None = None) -> None:
            bar.update(task, advance=steps, description=description, total=total)

        yield advance


class Group(typer.core.TyperGroup):
    """A group of commands that says which one was meant."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}: {meant(args[0], known)}")
        return super().resolve_command(ctx, args)


class _Commands(Group):
    """The commands of `normkit.cli`, found by listing its modules and loaded on first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name.replace("_", "-") for name in names("normkit.cli")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"normkit.cli.{cmd_name.replace('-', '_')}")
        if hasattr(module, "app"):
            group = typer.main.get_command(module.app)
            group.name = cmd_name
            return group
        single = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
        single.command(name=cmd_name)(module.command)
        command = typer.main.get_command(single)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> bool:
    if value:
        print(f"normkit {__version__}")
        raise typer.Exit
    return value


@app.callback()
def _normkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find what is mis-scaled in your network or your data, fix it in one line, and see that the fix holds."""


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        text = text.strip("'\"")
    return text or type(error).__name__


def _fail(error: BaseException, code: int) -> Never:
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    message = "interrupted" if isinstance(error, KeyboardInterrupt) else _one_line(error)
    hint = (
        ""
        if isinstance(error, _EXPECTED) or "--debug" in sys.argv
        else f" ({type(error).__name__}; --debug shows where)"
    )
    sys.stdout.flush()
    sys.stderr.write(f"error: {message}{hint}\n")
    sys.exit(code)


def _terminated(number: int, frame: FrameType | None) -> Never:
    """End as on an exception, so that what was half-written is removed."""
    sys.exit(128 + number)


def main() -> None:
    """Run the command line; every error is one line on stderr (`--debug` adds the traceback)."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    if "" not in sys.path:
        sys.path.insert(0, "")  # the reader's own package.module:name, as `python -m` finds it
    try:
        code = app(standalone_mode=False)
    except typer.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _fail(KeyboardInterrupt(), _INTERRUPTED)
    except _UsageError as error:
        if message := " ".join(error.format_message().split()):  # none where the help has just been printed
            sys.stderr.write(f"error: {message}\n")
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        _fail(error, 2)
    if code == _INTERRUPTED:  # typer has already caught Ctrl-C and turned it into this code
        _fail(KeyboardInterrupt(), _INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
