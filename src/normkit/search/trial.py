"""The test of a candidate, cheapest part first; what fails one part is spared the rest.

1. `probe`: on a fixed random tensor the output has the input's shape, is finite, and varies; free.
2. Signal: a fresh network with the candidate tells samples apart.
3. Quality: after a short training it is better than chance; given up early where the loss does not move.
4. Stability: gradient ascent on the norm of the weights' gradient, θ ← θ + η ∂‖∂ℓ/∂θ‖₂/∂θ, does not blow it up.
5. The accuracy on every architecture, which is the candidate's score.

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, section 3.2 (quality, stability).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normkit import training
from normkit.nn import GraphNorm2d
from normkit.nn.graph import Graph, evaluate
from normkit.search.architectures import Architecture, Layer
from normkit.search.protocol import Protocol
from normkit.search.task import Task

__all__ = ["Outcome", "probe", "try_out"]

_DECIMALS = 4


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate in a network: "signal", "quality" or "unstable" where it failed, else "scored"."""

    fate: str
    scores: tuple[float, ...] = ()


def probe(graph: Graph, groups: int = 4) -> str | None:
    """A name for the function that the graph computes, the same for functions that differ by a factor; None if none.

    It is a digest of the output for a fixed random (4, 3·groups, 8, 8), over its standard deviation and rounded. None
    where the output does not have the input's shape, is not finite in float32, or is constant.
    """
    x = torch.randn(4, 3 * groups, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        y = evaluate(graph, x, None, None, groups)
        if y.shape != x.shape or not y.float().isfinite().all() or y.std() <= 1e-6:
            return None
        rounded = (y / y.std()).round(decimals=_DECIMALS) + 0.0  # − 0 and 0 are one
    return hashlib.sha256(rounded.numpy().tobytes()).hexdigest()[:16]


def try_out(
    graph: Graph, architectures: Mapping[str, Architecture], task: Task, protocol: Protocol, seed: int
) -> Outcome:
    """Signal, quality, stability, score; the initial weights and the order of the data follow from `seed` alone."""

    def layer(channels: int) -> nn.Module:
        return GraphNorm2d(graph, channels, protocol.groups)

    first, *others = architectures.values()
    with task.own_randomness():
        if not _signal(task.network(first, layer, seed), task, protocol):
            return Outcome("signal")
        score = _quality(first, layer, task, protocol, seed)
        if score is None or score < task.chance + protocol.quality * (1 - task.chance):
            return Outcome("quality")
        if not _stable(task.network(first, layer, seed), task, protocol):
            return Outcome("unstable")
        return Outcome("scored", (score, *(task.accuracy(each, layer, protocol, seed) for each in others)))


def _signal(network: nn.Module, task: Task, protocol: Protocol) -> bool:
    x, _ = task.first(protocol.signal_samples)
    with torch.no_grad():
        logits = network.train()(x)
    low, high = protocol.spread
    return bool(logits.isfinite().all()) and low <= logits.std(0).mean().item() <= high


class _Hopeless(Exception):  # noqa: N818 - no error: it ends a training early
    """The loss has not moved."""


def _quality(architecture: Architecture, layer: Layer, task: Task, protocol: Protocol, seed: int) -> float | None:
    recent: list[float] = []

    def watch(step: int, loss: float, network: nn.Module) -> None:
        recent.append(loss)
        last = recent[-10:]
        if step + 1 == protocol.abort_step and sum(last) / len(last) > protocol.abort_loss * task.chance_loss:
            raise _Hopeless

    try:
        return task.accuracy(architecture, layer, protocol, seed, callback=watch)
    except _Hopeless:
        return None


def _stable(network: nn.Module, task: Task, protocol: Protocol) -> bool:
    x, y = task.first(protocol.stability_samples)
    parameters = [each for each in network.train().parameters() if each.requires_grad]
    for _ in range(protocol.stability_steps):
        loss = training.cross_entropy(network(x), (x, y))
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        norm = torch.stack([each.square().sum() for each in gradients if each is not None]).sum().sqrt()
        if not norm.item() <= protocol.stability_norm:
            return False
        _climb(parameters, norm, protocol.stability_rate)
    return True


def _climb(parameters: list[nn.Parameter], norm: Tensor, rate: float) -> None:
    """θ ← θ + η ∂‖∂ℓ/∂θ‖₂/∂θ."""
    ascent = torch.autograd.grad(norm, parameters, allow_unused=True)
    with torch.no_grad():
        for parameter, direction in zip(parameters, ascent, strict=True):
            if direction is not None:
                parameter += rate * direction
