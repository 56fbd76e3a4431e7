"""Where the kernels run: on a GPU if there is one, else in Triton's interpreter, which must be chosen at the start.

`test_interpreter.py` starts a process with TRITON_INTERPRET=1 that runs this folder; there, and on a GPU, nothing is
skipped. Everywhere else the modules that call kernels skip themselves with the reason.
"""

from collections.abc import Iterator

import pytest
import torch

from normkit.kernels.triton import launch
from normkit.kernels.triton.availability import INTERPRETED


@pytest.fixture
def device() -> torch.device:
    return torch.device("cpu") if INTERPRETED or not torch.cuda.is_available() else torch.device("cuda", 0)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiles so narrow that rows of a few hundred elements are long ones."""
    monkeypatch.setattr(launch, "WIDEST", {4: 128, 2: 128})
    monkeypatch.setattr(launch, "CHUNK", 128)
    launch.tile.cache_clear()
    launch.chunk.cache_clear()
    yield
    launch.tile.cache_clear()
    launch.chunk.cache_clear()
