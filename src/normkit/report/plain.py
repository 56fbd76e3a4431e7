"""What rich shows on a terminal, as plain text for `print` and `str`."""

import io
from typing import Any

__all__ = ["plain"]


def plain(renderable: Any, width: int = 110) -> str:
    """The text of a rich renderable in lines of at most `width` characters, without colours; commands keep one line."""
    from rich.console import Console, Group

    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(Group(renderable), crop=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))
