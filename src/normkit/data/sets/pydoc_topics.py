"""English prose that every Python brings: the help topics of the language reference."""

import platform
from pathlib import Path

import numpy as np

from normkit.data.bunch import Arrays, DataSet

__all__ = ["PYDOC_TOPICS"]


def _read(folder: Path | None) -> Arrays:
    from pydoc_data.topics import topics

    names = sorted(topics)
    documents = np.array([topics[name] for name in names], dtype=object)
    cut = int(0.9 * len(names))
    index = np.arange(len(names))
    return documents, np.array(names, dtype=object), {"train": index[:cut], "test": index[cut:]}


PYDOC_TOPICS = DataSet(
    name="pydoc-topics",
    summary="the help topics of the Python language reference, one document a topic, in alphabetical order",
    source=f"the standard library of Python {platform.python_version()} (module pydoc_data.topics); "
    "another Python brings another edition",
    licence="Python Software Foundation License 2.0",
    citation="Python Software Foundation, The Python Language Reference",
    read=_read,
)
