"""What the pages take from measurements when they are built: claims by paper, ratios by operation.

`{{ claims SLUG }}` becomes the paper's section of claims.md, `{{ bench NAME … }}` a table of the newest committed
result in benchmarks/results/, `{{ room NAME }}` the entries of a room's API. No figure is typed into
a page by hand.
"""

import ast
import json
import re
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
    markdown = re.sub(r"^\{\{ machine \}\}$", lambda _: machine(), markdown, flags=re.MULTILINE)
    return re.sub(r"^\{\{ bench ([\w ]+) \}\}$", lambda found: ratios(found[1].split()), markdown, flags=re.MULTILINE)


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


def newest() -> dict[str, Any] | None:
    """The newest committed result of `normkit bench`; files are called by their date."""
    files = sorted(RESULTS.glob("*/*.json"), key=lambda path: path.name)
    return json.loads(files[-1].read_text(encoding="utf-8")) if files else None


def machine() -> str:
    """One sentence on the machine of the newest result."""
    found = newest()
    if found is None:
        return "No result has been committed yet: `normkit bench --out DIR` makes one."
    it, versions = found["machine"], found["versions"]
    return (
        f"Measured by `normkit bench` on {it['cpu']}, {it['cores']} cores, instruction set in use {it['active_isa']}, "
        f"torch {versions['torch']}, normkit {versions['normkit']}."
    )


def ratios(names: list[str]) -> str:
    """Rows of the public function against each peer, for the operations named."""
    found = newest()
    rows = [row for row in found["results"] if _shown(row, names)] if found else []
    if not rows:
        return f"Not measured yet: `normkit bench {' '.join(names)}` does."
    head = "| operation | shape | threads | pass | output | time | against | ratio (95 %) | of copy | ULP |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|"]
    return "\n".join(lines + [_line(row) for row in rows])


def _shown(row: dict[str, Any], names: list[str]) -> bool:
    op = row["op"].partition("/")[0]
    return op in names and row["variant"] == "normkit" and row["dtype"] == "float32"


def _line(row: dict[str, Any]) -> str:
    setting = [row["op"], "×".join(map(str, row["shape"])), row["threads"], row["mode"], row["output"]]
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
