"""`normkit env`: what runs here, what is missing, what would speed things up."""

import time
from typing import Any

from rich.console import Console
from rich.table import Table

from normkit.cli._shell import Debug, Json, emit

__all__ = ["command"]


def command(json: Json = False, debug: Debug = False) -> None:
    """Show versions, processor, kernels active and missing, and what would speed things up."""
    from normkit.benchmarks import environment

    start = time.perf_counter()
    found = environment()
    emit(found, json=json, seconds=time.perf_counter() - start, human=lambda console: _print(found, console))


def _print(found: dict[str, Any], console: Console) -> None:
    machine, native = found["machine"], found["native"]
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("versions", "  ".join(f"{name} {version}" for name, version in found["versions"].items()))
    facts.add_row("processor", f"{machine['cpu']}, {machine['cores']} cores, torch uses {found['threads']}")
    facts.add_row("instruction sets", " ".join(machine["isa"]) or "unknown")
    facts.add_row("caches", "  ".join(f"{level} {size // 1024} KiB" for level, size in machine["caches"].items()))
    facts.add_row("huge pages", machine["thp"] or "none")
    facts.add_row("GPU", machine["gpu"] or "none")
    facts.add_row("native kernels", f"active: {native['isa']}" if native["usable"] else f"missing: {native['reason']}")
    for entry in native["available"]:
        state = "active" if entry["active"] else "usable" if entry["supported"] else "not on this processor"
        facts.add_row("", f"{entry['name']}: {state} ({entry['description']})")
    if native["usable"]:
        facts.add_row("", f"threads: {native['threading']}")
    facts.add_row("OpenMP", ", ".join(found["openmp_runtimes"]) or "none mapped")
    console.print(facts)
    console.print(_kernels(found["kernels"]))
    for sentence in found["advice"]:
        console.print(f"→ {sentence}", highlight=False)


def _kernels(rows: list[dict[str, Any]]) -> Table:
    shown = Table("operation", "kernels, best first", "not usable")
    for op in dict.fromkeys(row["op"] for row in rows):
        mine = [row for row in rows if row["op"] == op]
        missing = "; ".join(f"{row['kernel']}: {row['reason']}" for row in mine if not row["usable"])
        shown.add_row(op, ", ".join(row["kernel"] for row in mine if row["usable"]), missing)
    return shown
