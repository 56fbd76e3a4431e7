"""What the pages take from measurements when they are built: claims by paper, ratios by operation.

`{{ claims SLUG }}` becomes the paper's section of claims.md, `{{ bench NAME … }}` a table of the newest committed
result of a processor in benchmarks/results/, `{{ bench cuda NAME … }}` of a GPU, `{{ growth }}` one of how costs grow,
`{{ machine }}` and `{{ machine cuda }}` what they were measured on, `{{ room NAME }}` the entries of a room's API. No
figure is typed into a page by hand.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Let the pages build before the claims have been measured for the first time."""
    if files.get_file_from_path("claims.md") is None:
        text = "# Claims\n\nNot measured yet: `make claims` runs every paper and writes this page."
        files.append(File.generated(config, "claims.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what a page asks for."""
    markdown = re.sub(r"^\{\{ claims ([\w-]+) \}\}$", lambda found: claims(found[1]), markdown, flags=re.MULTILINE)
    markdown = re.sub(r"^\{\{ room (\w+) \}\}$", lambda found: room(found[1]), markdown, flags=re.MULTILINE)
    markdown = re.sub(
        r"^\{\{ machine( cuda)? \}\}$", lambda found: machine(_device(found[1])), markdown, flags=re.MULTILINE
    )
    markdown = re.sub(r"^\{\{ growth \}\}$", lambda _: growth(), markdown, flags=re.MULTILINE)
    return re.sub(
        r"^\{\{ bench( cuda)? ([\w ]+) \}\}$",
        lambda found: ratios(found[2].split(), _device(found[1])),
        markdown,
        flags=re.MULTILINE,
    )


def _device(word: str | None) -> str:
    return (word or "cpu").strip()


def room(name: str) -> str:
    """The entries of a room's public face.

    A function that bears the name of its module hides behind the module for the static reader: it is named in full.
    """
    face = ast.parse((ROOT / "src" / "normkit" / name / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in face.body if isinstance(node, ast.ImportFrom) and node.module]
    hidden = [
        f"::: {node.module}.{alias.name}\n    options: {{show_root_heading: true, show_root_toc_entry: true}}"
        for node in imports
        for alias in node.names
        if str(node.module).rpartition(".")[2] == alias.name
    ]
    return "\n\n".join([f"::: normkit.{name}", *hidden])


def claims(slug: str) -> str:
    """The section of one paper in claims.md, without its heading and citation."""
    page = ROOT / "docs" / "claims.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    section = re.search(rf"^## {re.escape(slug)}$\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return section[1].strip() if section else f"Not measured yet: `normkit reproduce {slug}` runs the claims."


def newest(device: str) -> dict[str, Any] | None:
    """The newest committed result of `normkit bench` on a kind of device that holds more than growth."""
    for found in _committed(device):
        if {row["mode"] for row in found["results"]} - {"growth"}:
            return found
    return None


def _committed(device: str) -> Iterator[dict[str, Any]]:
    """The committed results, the newest first; files are called by their date."""
    for path in sorted(RESULTS.glob("*/*.json"), key=lambda path: path.name, reverse=True):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["device"] in (device, "all"):
            yield found


def growth() -> str:
    """Rows of how each call's cost grows, from the newest result that has them: a line a size, the exponents last."""
    rows: list[dict[str, Any]] = []
    for found in _committed("cpu"):
        measured = [row for row in found["results"] if row["mode"] == "growth" and row["status"] != "skipped"]
        shown = {row["op"] for row in rows}
        rows += [row for row in measured if row["op"] not in shown]
    if not rows:
        return "Not measured yet: `normkit bench growth` does."
    head = "| call | variant | n | CPU time | memory | bar |"
    lines = [_growth_line(row) for row in _once(sorted(rows, key=lambda row: row["op"]))]
    return "\n".join([head, "|---|---|---|---|---|---|", *lines])


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A measured size stands once, and not again for each peer that it was compared with."""
    return list({(row["op"], row["variant"], tuple(row["shape"])): row for row in reversed(rows)}.values())[::-1]


def _growth_line(row: dict[str, Any]) -> str:
    cells = [row["op"], row["variant"]]
    if row["time_exponent"] is None:
        memory = "–" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.3g} MiB"
        cells += [row["shape"][0], _time(row["median_ns"]), memory]
    else:
        memory = "–" if row["memory_exponent"] is None else f"n^{row['memory_exponent']:.2f}"
        cells += [f"{row['shape'][0]} to {row['shape'][-1]}", f"n^{row['time_exponent']:.2f}", memory]
    limits = ", ".join(_limit(name, most) for name, most in (row["limits"] or {}).items())
    verdict = {True: " met", False: " **missed**", None: ""}[row["met"]]
    return "| " + " | ".join(map(str, [*cells, limits + verdict])) + " |"


def machine(device: str = "cpu") -> str:
    """One sentence on the machine of the newest result."""
    found = newest(device)
    if found is None:
        command = "normkit bench --out DIR" if device == "cpu" else "make bench-cuda"
        return f"No result has been committed yet: `{command}` makes one."
    it, versions = found["machine"], found["versions"]
    if device == "cuda":
        on = f"{it['gpu']}, driver {it['driver']}, Triton {it['triton']}"
    else:
        on = f"{it['cpu']}, {it['cores']} cores, instruction set in use {it['active_isa']}"
    return f"Measured by `normkit bench` on {on}, torch {versions['torch']}, normkit {versions['normkit']}."


def ratios(names: list[str], device: str = "cpu") -> str:
    """Rows of the public function against each peer, for the operations named."""
    found = newest(device)
    rows = [row for row in found["results"] if _shown(row, names, device)] if found else []
    if not rows:
        return f"Not measured yet: `normkit bench {' '.join(names)}{' --device cuda' * (device == 'cuda')}` does."
    where = "threads" if device == "cpu" else "clock"
    head = f"| operation | shape | {where} | pass | output | time | against | ratio (95 %) | of copy | ULP |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|"]
    return "\n".join(lines + [_line(row) for row in rows])


def _limit(name: str, most: float) -> str:
    if name == "peak_bytes":
        return f"memory ≤ {most / 2**20:.3g} MiB"
    return f"{name.partition('_')[0]} ≤ n^{most:.3g}"


def _shown(row: dict[str, Any], names: list[str], device: str) -> bool:
    op = row["op"].partition("/")[0]
    same = row.get("device", "cpu") == device and (device == "cuda" or row["dtype"] == "float32")
    return same and op in names and row["variant"] == "normkit"


def _line(row: dict[str, Any]) -> str:
    where = row["threads"] if row.get("device", "cpu") == "cpu" else row["clock"]
    dtype = "" if row["dtype"] == "float32" else f", {row['dtype']}"
    setting = [row["op"], "×".join(map(str, row["shape"])), where, row["mode"] + dtype, row["output"]]
    if row["median_ns"] is None:
        rest = ["–", "–", row["status"], "–", _number(row["max_ulp"])]
        return "| " + " | ".join(map(str, setting + rest)) + " |"
    low, high = row["ratio_ci"]
    ratio = f"{row['ratio_median']:.2f} ({low:.2f}–{high:.2f})" + (" noisy" if row["status"] == "noisy" else "")
    rest = [_time(row["median_ns"]), row["ratio_to"], ratio, _number(row["copy_fraction"]), _number(row["max_ulp"])]
    return "| " + " | ".join(map(str, setting + rest)) + " |"


def _time(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
