"""normkit: find what is mis-scaled in your network or your data, fix it in one line, and see that the fix holds.

The verbs stand here and are loaded on first use, so `import normkit` brings torch, numpy and jaxtyping, no more:

- `diagnose(model, data)` measures pathologies of scale and names the remedies; `monitor` does so in a training loop;
- `convert(model, to)` applies a remedy and proves what it did; `load(folder)` rebuilds a saved conversion;
- `compare(build_model, data, methods)` shows the effect over paired seeds and a grid of learning rates;
- `reproduce(paper)` checks a paper's claims; `bench(names)` proves the speed.

The rooms (`normkit.nn`, `normkit.functional`, `normkit.weights`, …) are plain sub-packages.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import jaxtyping as jaxtyping
import numpy as numpy
import torch as torch

__version__ = "0.1.0"

if TYPE_CHECKING:
    from normkit.benchmarks import bench
    from normkit.comparison import compare
    from normkit.conversion import convert, load
    from normkit.diagnosis import diagnose, monitor
    from normkit.papers import reproduce

_VERBS = {
    "bench": "normkit.benchmarks",
    "compare": "normkit.comparison",
    "convert": "normkit.conversion",
    "diagnose": "normkit.diagnosis",
    "load": "normkit.conversion",
    "monitor": "normkit.diagnosis",
    "reproduce": "normkit.papers",
}
_ROOMS = (
    "benchmarks",
    "comparison",
    "conversion",
    "data",
    "diagnosis",
    "estimators",
    "functional",
    "kernels",
    "losses",
    "models",
    "nn",
    "papers",
    "report",
    "search",
    "surgery",
    "training",
    "weights",
)

__all__ = ["__version__", "bench", "compare", "convert", "diagnose", "load", "monitor", "reproduce"]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(import_module(_VERBS[name]), name)
    if name in _ROOMS:
        return import_module(f"normkit.{name}")
    raise AttributeError(f"module 'normkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_VERBS, *_ROOMS})
