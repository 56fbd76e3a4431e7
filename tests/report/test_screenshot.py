"""The page in a real browser: it fits a phone, it follows dark mode, and every block can be seen.

Needs a Chromium or Chrome on the PATH (Debian's package `chromium`); skipped with that reason where there is none.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from normkit.report import Report, new_figure

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no headless browser here: install Debian's package chromium")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
]
PHONE = 390  # CSS pixels; an iframe, since a headless window is never narrower than about 500
DARK, LIGHT = 0, 1  # Blink's numbers for the reader's preferred colours


@pytest.fixture
def page(tmp_path: Path) -> Path:
    report = Report("A diagnosis", "what is mis-scaled here")
    report.heading("Findings")
    report.note("act", "batch-noise at a.very.long.module.path.that.does.not.break.anywhere.norm1")
    report.table([f"column {k}" for k in range(8)], [["some.long.module.path.norm", *range(7)]] * 3, "a wide table")
    report.code("normkit.convert(model, ['weight-standardization', 'batch-channel-norm'], data=data)  # " + "x" * 90)
    figure, axes = new_figure()
    axes.plot([1, 2, 3], label="before")
    axes.legend()
    axes.set_title("noise by layer")
    report.figure(figure, "a figure", "a rising line")
    return report.write(tmp_path / "report.html")


def _browse(page: Path, *arguments: str, color: int) -> str:
    profile = page.parent / "profile"
    scheme = f"--blink-settings=preferredColorScheme={color}"
    command = [str(BROWSER), *QUIET, f"--user-data-dir={profile}", scheme, *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def _measure(page: Path, expression: str, *, color: int = LIGHT) -> dict[str, object]:
    """`expression` evaluated inside the page as a phone shows it; `doc` and `win` are the page's."""
    wrapper = page.with_name("phone.html")
    wrapper.write_text(
        f"""<!doctype html><body><pre id=out></pre><iframe id=f src="{page.name}" width={PHONE} height=800></iframe>
<script>document.getElementById('f').onload = e => {{
  const doc = e.target.contentDocument, win = e.target.contentWindow;
  document.getElementById('out').textContent = JSON.stringify({expression});
}};</script></body>"""
    )
    dom = _browse(wrapper, "--virtual-time-budget=4000", "--dump-dom", color=color)
    found = re.search(r"<pre id=\"out\">(.+?)</pre>", dom, flags=re.DOTALL)
    assert found, dom[:500]
    return json.loads(found[1].replace("&amp;", "&").replace("&gt;", ">").replace("&lt;", "<"))


def test_nothing_sticks_out_of_a_phone(page: Path) -> None:
    seen = _measure(page, "{wide: doc.documentElement.scrollWidth, view: doc.documentElement.clientWidth}")
    assert seen["view"] == PHONE
    assert seen["wide"] <= PHONE


@pytest.mark.parametrize("color", [LIGHT, DARK])
def test_text_and_figures_keep_their_contrast(page: Path, color: int) -> None:
    expression = """{
      paper: win.getComputedStyle(doc.body).backgroundColor,
      ink: win.getComputedStyle(doc.body).color,
      label: win.getComputedStyle(doc.querySelector('svg text')).fill,
      legend: win.getComputedStyle([...doc.querySelectorAll('svg text')].find(t => t.textContent === 'before')).fill}"""
    seen = {name: _luminance(str(value)) for name, value in _measure(page, expression, color=color).items()}
    assert (seen["paper"] < 0.1) == (color == DARK)
    for name in ("ink", "label", "legend"):
        high, low = max(seen["paper"], seen[name]), min(seen["paper"], seen[name])
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name}: WCAG wants a contrast of 4.5"


def _luminance(css: str) -> float:
    """Relative luminance (WCAG 2) of `rgb(r, g, b)`."""
    channels = [int(value) / 255 for value in re.findall(r"\d+", css)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("color", [LIGHT, DARK])
def test_the_picture_shows_a_page(page: Path, color: int) -> None:
    from matplotlib.image import imread

    picture = page.with_name("picture.png")
    _browse(page, f"--screenshot={picture}", "--window-size=900,1200", color=color)
    pixels = imread(picture)[..., :3]
    paper = pixels[5, 5]
    assert (paper.mean() < 0.2) == (color == DARK)
    drawn = np.abs(pixels - paper).max(axis=2) > 0.1
    assert 0.01 < drawn.mean() < 0.5
    assert drawn.any(axis=1)[400:].any(), "the figure at the end of the page was not drawn"
