"""What a mean cross-entropy with its gradient holds in memory as rows are added: one gradient, and nothing besides.

torch's keeps the log-probabilities too, and the usual way by hand a second copy of them. 1024 classes, float32. No bar
on the exponent of time: the smallest size lies in the cache and the largest does not.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from normkit import functional as F
from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.suite import Peer

__all__ = ["suite"]

_CLASSES = 1024


def _inputs(rows: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    logits = torch.from_numpy(generator.standard_normal((rows, _CLASSES), dtype=np.float32))
    return logits.requires_grad_(), torch.from_numpy(generator.integers(_CLASSES, size=rows))


def _ours(logits: Tensor, target: Tensor) -> Tensor:
    return torch.autograd.grad(F.cross_entropy(logits, target), logits)[0]


def _torch(logits: Tensor, target: Tensor) -> Tensor:
    return torch.autograd.grad(functional.cross_entropy(logits, target), logits)[0]


def _by_hand(logits: Tensor, target: Tensor) -> Tensor:
    loss = -torch.log_softmax(logits, -1).gather(-1, target.unsqueeze(-1)).mean()
    return torch.autograd.grad(loss, logits)[0]


def _one_gradient(rows: int) -> float:
    """The bytes of one gradient, and 2 MiB for what a process allocates besides."""
    return 4.0 * rows * _CLASSES + 2**21


suite = Growth(
    op="cross_entropy_memory",
    public=_ours,
    inputs=_inputs,
    sizes=(500, 5_000, 50_000),
    quick_size=64,
    peers=(Peer("torch", _torch), Peer("log_softmax+gather", _by_hand)),
    dtype="float32",
    most_memory_exponent=1.05,
    most_bytes=_one_gradient,
)
