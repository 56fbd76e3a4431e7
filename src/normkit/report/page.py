"""A report: blocks of text, tables and figures that become one self-contained HTML page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from normkit.data.files import writable_folder, write_atomically
from normkit.report.envelope import machine, versions
from normkit.report.figure import svg

__all__ = ["Report"]

Kind = Literal["ok", "watch", "act", "info"]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)


@dataclass
class Report:
    """A page that grows block by block and is written once, whole.

    The page needs nothing from elsewhere: styles are inside, figures are inline SVG, there are no scripts. It reads on
    a phone (tables scroll by themselves, figures scale) and follows the reader's light or dark setting.
    """

    title: str
    lead: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.blocks.append({"kind": "heading", "text": text})

    def text(self, text: str) -> None:
        """A paragraph of plain text."""
        self.blocks.append({"kind": "text", "text": text})

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> None:
        """A table; floats are printed with four significant digits, None as a dash."""
        cells = [[_cell(value) for value in row] for row in rows]
        self.blocks.append({"kind": "table", "headers": list(headers), "rows": cells, "caption": caption})

    def figure(self, figure: Any, caption: str, alt: str) -> None:
        """A matplotlib figure (see `new_figure`) with its caption and the text for those who cannot see it."""
        self.blocks.append({"kind": "figure", "svg": svg(figure), "caption": caption, "alt": alt})

    def code(self, text: str, caption: str = "") -> None:
        """A line or a block to copy."""
        self.blocks.append({"kind": "code", "text": text, "caption": caption})

    def note(self, kind: Kind, text: str) -> None:
        """A sentence that must not be missed, coloured by its severity."""
        self.blocks.append({"kind": "note", "severity": kind, "text": text})

    def html(self) -> str:
        """The page."""
        from jinja2 import Environment, PackageLoader

        environment = Environment(
            loader=PackageLoader("normkit.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        return environment.get_template("page.html").render(report=self, versions=versions(), machine=machine())

    def write(self, path: str | Path) -> Path:
        """Write the page to `path`, whose folder is made where it is missing, in one step: never half a page.

        Raises:
            OSError: the folder cannot be made or written; the message names it.
        """
        writable_folder(Path(path).parent, force=True)
        return write_atomically(path, self.html())
