"""What is kept of a search beside its log: the best graphs as pictures, as source and as JSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normkit.data import writable_folder, write_atomically
from normkit.search.reranking import Ranked
from normkit.search.source import source

__all__ = ["write"]


def write(folder: str | os.PathLike[str], ranked: Sequence[Ranked], settings: dict[str, Any]) -> list[Path]:
    """Write `best.json` (nodes, formula, accuracy by network) and `layer_1.py`, `layer_2.py` … in the order given.

    Args:
        folder: made where it is missing; files of an earlier call are replaced.
        ranked: the best first.
        settings: of the search that found them, kept in `best.json`.

    Raises:
        OSError: the folder cannot be written.
    """
    place = writable_folder(folder, force=True)
    kept = {"settings": settings, "layers": [each.to_dict() for each in ranked]}
    paths = [write_atomically(place / "best.json", json.dumps(kept, indent=1, ensure_ascii=False) + "\n")]
    for number, each in enumerate(ranked, 1):
        paths.append(write_atomically(place / f"layer_{number}.py", source(each.graph)))
    return paths
