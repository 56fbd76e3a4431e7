"""Data sets from the Hugging Face hub, through its own package, when the user asks for a download."""

from typing import Any

__all__ = ["fetch_split"]


def fetch_split(repository: str, split: str) -> Any:
    """One split of a data set of the hub, as a `datasets.Dataset`.

    Raises:
        ImportError: the package `datasets` is not installed; says how to get it.
    """
    try:
        from datasets import load_dataset  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        raise ImportError("a download goes through the Hugging Face hub: pip install datasets") from None
    return load_dataset(repository, split=split)
