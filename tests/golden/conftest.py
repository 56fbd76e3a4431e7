"""Golden vectors: one module per file, every shape and option read from the file, every key used or pending.

The used keys of a module are counted in one process: the suite spreads whole files (`--dist loadfile`).
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.pending import PENDING

HERE = Path(__file__).parent


class Golden:
    """One `<slug>.npz`; remembers which of its keys a test has read."""

    def __init__(self, path: Path) -> None:
        self.slug = path.stem
        with np.load(path, allow_pickle=False) as archive:
            self.arrays = {key: archive[key] for key in archive.files}
        self.used: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def __getitem__(self, key: str) -> np.ndarray:
        self.used.add(key)
        return self.arrays[key]

    def tensor(self, key: str, dtype: torch.dtype | None = None) -> Tensor:
        """The array as a tensor (a copy)."""
        return torch.tensor(self[key], dtype=dtype)

    def cases(self, pattern: str) -> list[str]:
        """Group 1 of every key that `pattern` matches as a whole, each once, in natural order."""
        found = {match.group(1) for key in self.arrays if (match := re.fullmatch(pattern, key))}
        return sorted(found, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])

    def left_over(self) -> list[str]:
        """Keys that no test read and that are not pending."""
        pending = PENDING.get(self.slug, ())
        unused = sorted(set(self.arrays) - self.used)
        return [key for key in unused if not any(re.fullmatch(pattern, key) for pattern in pending)]


def slug_of(module: Path) -> str:
    return module.stem.removeprefix("test_").replace("_", "-")


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    path = request.config.getoption("--golden") / f"{slug_of(Path(request.path))}.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent}")
    file = Golden(path)
    yield file
    chosen = [item for item in request.session.items if item.path == request.path]
    whole = (
        request.session.testscollected
        and not request.config.option.keyword
        and "::" not in "".join(request.config.args)
    )
    if whole and chosen and not request.session.testsfailed:
        assert not file.left_over(), (
            f"{file.slug}.npz: keys that no test uses and pending.py does not name: {file.left_over()}"
        )
