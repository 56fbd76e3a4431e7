"""Figures in the house style: drawn by matplotlib, embedded as SVG that follows the page's light or dark colours."""

import io
import re
from itertools import count
from typing import Any

__all__ = ["COLORS", "new_figure", "svg"]

COLORS = {
    "before": "#d1495b",
    "after": "#2a9d8f",
    "act": "#d1495b",
    "watch": "#e09f3e",
    "ok": "#2a9d8f",
    "accent": "#4c78d0",
    "muted": "#8d99ae",
}
"""Colours that keep their contrast on white and on near-black."""

_INK = "#010203"  # stands for "the page's own text colour"; svg() turns it into currentColor
_STYLE = {
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.prop_cycle": None,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10.0,
    "grid.alpha": 0.18,
    "grid.color": _INK,
    "legend.frameon": False,
    "savefig.transparent": True,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_serial = count()


def new_figure(width: float = 6.4, height: float = 3.6, *, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A matplotlib figure of `width` × `height` inches in the house style, and its axes; pyplot is not touched."""
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    style = {
        **_STYLE,
        "axes.prop_cycle": cycler(color=[COLORS[n] for n in ("accent", "before", "after", "watch", "muted")]),
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns)
        # ticks are made lazily: make them while the style is in force
        for each in figure.axes:
            each.get_xticklabels()
            each.get_yticklabels()
    return figure, axes


def _into_house_style(figure: Any) -> None:
    """Texts and legends that were made after `new_figure` left its style: give them the page's ink."""
    from matplotlib.legend import Legend
    from matplotlib.text import Text

    for legend in figure.findobj(Legend):
        legend.set_frame_on(False)
    for text in figure.findobj(Text):
        if text.get_color() in ("black", "k"):
            text.set_color(_INK)


def svg(figure: Any) -> str:
    """The figure as one inline `<svg>` element: transparent, text as text, ink in `currentColor`, ids of its own."""
    import matplotlib

    _into_house_style(figure)
    buffer = io.StringIO()
    settings = {**_STYLE, "svg.fonttype": "none", "svg.hashsalt": f"normkit-{next(_serial)}"}
    del settings["axes.prop_cycle"]
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r'(<svg\b[^>]*?)\swidth="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?)\sheight="[^"]*"', r"\1", text, count=1)
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
