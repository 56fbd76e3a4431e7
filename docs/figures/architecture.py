"""Draw `floors.svg` and `way.svg`, the two drawings of the architecture page: `python docs/figures/architecture.py`.

The rooms that exist are found by listing the package; those reserved stand in the import contract of pyproject.toml.
"""

import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FLOORS = (
    ("4 the shell", ("cli",)),
    ("3 the verbs", ("papers", "comparison", "diagnosis", "conversion", "benchmarks", "report")),
    ("2 whole systems", ("federated", "search", "text", "histology", "models")),
    ("1 parts", ("estimators", "adapt", "density", "training", "weights", "optim", "losses", "surgery", "nn", "data")),
    ("0 ground", ("functional", "kernels", "_native")),
)
WAY = (
    ("your model,\nyour batches", ""),
    ("diagnose", "hooks on, a few\nbatches, all put back"),
    ("finding", "figure, threshold\nand its source"),
    ("convert", "one module a site,\nor why not"),
    ("proof", "float64, or how\nclose on data"),
    ("diagnose\nagain", "the same figure,\nthe same sites"),
)
INK = 'font-family="sans-serif" fill="currentColor"'


def rooms_in_order() -> list[str]:
    """The rooms as the import contract lists them, without the parentheses of those that are reserved."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    return [layer.strip("()").removeprefix("normkit.") for layer in contract]


def exists(room: str) -> bool:
    """Whether the room stands in the package (the native core: whether its sources do)."""
    return (ROOT / "native").is_dir() if room == "_native" else (ROOT / "src/normkit" / room / "__init__.py").is_file()


def text(x: float, y: float, words: str, size: int, anchor: str = "middle", weight: str = "normal") -> str:
    """Centred lines of text."""
    lines = words.split("\n")
    top = y - (len(lines) - 1) * size * 0.6
    return "".join(
        f'<text x="{x}" y="{top + index * size * 1.2:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" {INK}>{line}</text>'
        for index, line in enumerate(lines)
    )


def box(x: float, y: float, width: float, height: float, dashed: bool = False, fill: float = 0.12) -> str:
    """A rounded box; dashed and empty for what is not there yet."""
    style = 'fill="none" stroke-dasharray="4 4"' if dashed else f'fill="#2a9d8f" fill-opacity="{fill}"'
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" rx="6" stroke="#2a9d8f" {style}/>'


def floors() -> str:
    """The five floors with their rooms from left to right."""
    named = [room for _, rooms in FLOORS for room in rooms]
    contract = [room for room in rooms_in_order() if room in named]
    assert contract == named, f"the drawing says {named}, the import contract {contract}"
    width, left, height = 1080, 130, 58
    parts = []
    for level, (title, rooms) in enumerate(FLOORS):
        y = 8 + level * (height + 12)
        each = (width - left) / len(rooms)
        parts.append(text(left - 12, y + height / 2 + 5, title, 15, "end", "bold"))
        for index, room in enumerate(rooms):
            x = left + index * each
            parts.append(box(x + 3, y, each - 6, height, dashed=not exists(room)))
            parts.append(text(x + each / 2, y + height / 2 + 5, room, 15 if each > 100 else 14))
    return drawing(width, 8 + len(FLOORS) * (height + 12), "Five floors with their rooms", parts)


def way() -> str:
    """Six stations from the model to the proof."""
    width, each, height = 1080, 180, 70
    parts = []
    for index, (title, below) in enumerate(WAY):
        x = index * each
        parts.append(box(x + 6, 10, each - 36, height, fill=0.3 if title.startswith(("diagnose", "convert")) else 0.12))
        parts.append(text(x + each / 2 - 12, 10 + height / 2 + 5, title, 17, weight="bold"))
        parts.append(text(x + each / 2 - 12, height + 38, below, 14))
        if index + 1 < len(WAY):
            tip = x + each + 3
            parts.append(f'<path d="M{tip - 28} 45 H{tip}" stroke="currentColor" stroke-width="1.5"/>')
            parts.append(f'<path d="M{tip - 8} 40 L{tip} 45 L{tip - 8} 50" fill="none" stroke="currentColor"/>')
    return drawing(width, 140, "A model's way from the question to the proof", parts)


def drawing(width: int, height: int, title: str, parts: list[str]) -> str:
    """One inline SVG without blank lines."""
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">\n<title>{title}</title>\n{body}\n</svg>\n'


if __name__ == "__main__":
    (HERE / "floors.svg").write_text(floors(), encoding="utf-8")
    (HERE / "way.svg").write_text(way(), encoding="utf-8")
