"""`normkit data list|info|fetch`: the data sets, what is known of them, and how to get them."""

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from normkit import data
from normkit.cli._shell import Debug, Group, Json, emit

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    help="The data sets: list them, say what is known of one, fetch one.",
)

Name = Annotated[str, typer.Argument(help="Name of a data set, as `normkit data list` prints it.")]


@app.command("list")
def list_(json: Json = False, debug: Debug = False) -> None:
    """List the data sets and whether each is on this machine."""
    start = time.perf_counter()
    sets = [data.describe(name) for name in data.names()]
    payload = {"root": str(data.root()), "sets": sets}
    emit(payload, json=json, seconds=time.perf_counter() - start, human=lambda console: _print_list(console, sets))


@app.command()
def info(name: Name, json: Json = False, debug: Debug = False) -> None:
    """Say what a data set is: source, licence, citation, files; its shapes too where it is on this machine."""
    start = time.perf_counter()
    facts = data.describe(name)
    if facts["available"]:
        facts |= _shapes(data.load(name))
    emit(facts, json=json, seconds=time.perf_counter() - start, human=lambda console: _print_facts(console, facts))


@app.command()
def fetch(name: Name, json: Json = False, debug: Debug = False) -> None:
    """Fetch a data set into the data folder ($NORMKIT_DATA, else the platform's cache); needs the internet."""
    start = time.perf_counter()
    facts = data.describe(name)
    already = facts["available"]
    bunch = data.load(name, download=True)
    facts = data.describe(name) | _shapes(bunch) | {"fetched": not already}
    emit(facts, json=json, seconds=time.perf_counter() - start, human=lambda console: _print_facts(console, facts))


def _shapes(bunch: data.Bunch) -> dict[str, Any]:
    return {
        "X": {"shape": list(bunch.X.shape), "dtype": str(bunch.X.dtype)},
        "y": None if bunch.y is None else {"shape": list(bunch.y.shape), "dtype": str(bunch.y.dtype)},
        "split": {name: len(index) for name, index in bunch.split.items()},
    }


def _print_list(console: Console, sets: list[dict[str, Any]]) -> None:
    table = Table()
    for header in ("data set", "what", "MB", "here"):
        table.add_column(header, overflow="fold")
    for each in sets:
        megabytes = f"{each['bytes'] / 1e6:.1f}" if each["files"] else "–"
        here = "yes" if each["available"] else "fetch" if each["can_download"] else "no"
        table.add_row(each["name"], each["summary"], megabytes, here)
    console.print(table)
    console.print(f"Files are looked for in {data.root()}; normkit data info NAME says more.", soft_wrap=True)


def _print_facts(console: Console, facts: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in facts.items():
        table.add_row(key.replace("_", " "), _in_words(key, value))
    console.print(table)


def _in_words(key: str, value: Any) -> str:
    """A fact as a person reads it."""
    match value:
        case None | [] | "":
            return "–"
        case bool():
            return "yes" if value else "no"
        case {"shape": shape, "dtype": dtype}:
            return f"{' × '.join(map(str, shape))} {dtype}"
        case dict():
            return ", ".join(f"{name} {count:,}" for name, count in value.items())
        case list():
            return ", ".join(map(str, value))
        case int() if key == "bytes":
            return f"{value / 1e6:.1f} MB" if value else "–"
        case _:
            return str(value)
