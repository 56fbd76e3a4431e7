"""A report is one page that needs nothing from elsewhere, written whole or not at all."""

import re
from pathlib import Path

import pytest

from normkit.report import COLORS, Report, new_figure, svg


def _page() -> Report:
    report = Report("A title <b>", lead="lead & more")
    report.heading("Section")
    report.text("x < y")
    report.note("act", "look here")
    report.table(["name", "value"], [["a", 1.23456], ["b", None], ["c", True]], caption="a table")
    report.code("normkit.convert(model, 'fold')")
    figure, axes = new_figure()
    axes.plot([1, 2, 3], label="line")
    axes.legend()
    report.figure(figure, "a figure", "three points on a line")
    return report


def test_everything_is_inside_the_page() -> None:
    html = _page().html()
    assert html.startswith("<!doctype html>")
    assert not re.search(r"<(script|link|img|iframe)\b", html)
    assert not re.search(r"""(src|href)=["']https?:""", html)
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html


def test_text_is_escaped_and_values_are_readable() -> None:
    html = _page().html()
    assert "A title &lt;b&gt;" in html
    assert "x &lt; y" in html
    assert "<td>1.235</td>" in html
    assert "<td>–</td>" in html
    assert "<td>yes</td>" in html
    assert 'aria-label="three points on a line"' in html


def test_figures_follow_the_colours_of_the_page_and_share_no_id() -> None:
    figure, axes = new_figure()
    axes.plot([1, 2, 3])
    axes.set_title("title")
    first, second = svg(figure), svg(figure)
    assert "currentColor" in first
    assert "#010203" not in first
    assert COLORS["accent"] in first
    ids = [set(re.findall(r'id="([^"]+)"', text)) for text in (first, second)]
    clips = [{name for name in found if name.startswith("p")} - {"patch_1"} for found in ids]
    referenced = [set(re.findall(r"url\(#([^)]+)\)", text)) for text in (first, second)]
    assert referenced[0]
    assert not referenced[0] & referenced[1]
    assert clips


def test_write_is_whole_or_nothing(tmp_path: Path) -> None:
    path = _page().write(tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        _page().write(tmp_path / "file" / "report.html")
