"""What private similarity is compared with: phase features, noise of each query, training with private gradients."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from normkit.estimators import gaussian_sigma
from normkit.estimators.private.features import draw_frequencies
from normkit.estimators.private.noise import add_noise

__all__ = ["fresh_noise", "phase_density", "processor_seconds", "train_privately"]

_STEPS = 2**20


def phase_density(
    X: Float[ndarray, "n d"],
    Y: Float[ndarray, "q d"],
    epsilons: tuple[float, ...],
    count: int,
    rng: np.random.RandomState,
) -> list[Float[ndarray, "q"]]:
    """Gaussian kernel density by `count` features √2 cos(ωᵀx + β) with Laplace noise, n public, for each ε.

    The prior work (Wagner, Naamad, Mishra, ICML 2023): one row moves the sums by √2 · count in L1.
    """
    W = draw_frequencies("gaussian", X.shape[1], count, rng)
    phase = rng.uniform(0, 2 * math.pi, count)

    def features(rows: Float[ndarray, "rows d"]) -> Float[ndarray, "rows count"]:
        return math.sqrt(2) * np.cos(rows @ W + phase)

    sums = np.rint(sum(features(X[start : start + 4096]).sum(axis=0) for start in range(0, len(X), 4096)) * _STEPS)
    answers = []
    for epsilon in epsilons:
        noisy = add_noise(sums.astype(np.int64), "laplace", math.sqrt(2) * count / epsilon * _STEPS, "opendp") / _STEPS
        answers.append(features(Y) @ noisy / count / len(X))
    return answers


def fresh_noise(exact: Float[ndarray, "q"], epsilon: float, width: float) -> Float[ndarray, "q"]:
    """The answers with noise of their own, all together ε-private: the scale grows with their number."""
    scale = width * len(exact) / epsilon
    return add_noise(np.rint(exact * _STEPS).astype(np.int64), "laplace", scale * _STEPS, "opendp") / _STEPS


def processor_seconds(call: Callable[[], Any]) -> float:
    """Processor time of one call on one thread: idle threads that spin would be counted with it."""
    with threadpool_limits(1):
        started = time.process_time()
        call()
        return max(time.process_time() - started, 1e-9)


def train_privately(
    model: nn.Module,
    x: Float[Tensor, "n d"],
    y: Int[Tensor, "n"],
    epsilon: float,
    delta: float,
    *,
    steps: int,
    lr: float,
    clip: float = 1.0,
    seed: int = 0,
    form_rows: bool = True,
) -> None:
    """Full-batch gradient descent on cross-entropy with each row's gradient clipped to `clip`; trains `model`.

    All steps together are one Gaussian mechanism of sensitivity clip · √steps, so σ is exact. The noise is torch's:
    only accuracy and time are compared. `form_rows` makes each row's gradient, as works for any network; without it
    the same sums come from the layers' inputs and deltas, which works for linear layers alone.
    """
    generator = torch.Generator().manual_seed(seed)
    sigma = gaussian_sigma(epsilon, delta, clip * math.sqrt(steps))
    clipped = _clipped_by_row if form_rows else _clipped_by_layer
    for _ in range(steps):
        sums = clipped(model, x, y, clip)
        with torch.no_grad():
            for name, value in model.named_parameters():
                noise = sigma * torch.randn(value.shape, generator=generator)
                value -= lr * (sums[name] + noise) / len(x)


def _clipped_by_row(model: nn.Module, x: Tensor, y: Tensor, clip: float) -> dict[str, Tensor]:
    """Sums of clipped gradients of which each is formed."""

    def loss(values: dict[str, Tensor], row: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, values, (row[None],)), label[None])

    parameters = {name: value.detach() for name, value in model.named_parameters()}
    each = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    norm = torch.stack([gradient.flatten(1).square().sum(1) for gradient in each.values()]).sum(0).sqrt()
    shrink = (clip / norm).clamp(max=1.0)
    return {name: torch.einsum("n,n...->...", shrink, gradient) for name, gradient in each.items()}


def _clipped_by_layer(model: nn.Module, x: Tensor, y: Tensor, clip: float) -> dict[str, Tensor]:
    """The same sums, none of them formed: a row's gradient in a linear layer is δ (a, 1)ᵀ, of norm ‖δ‖ ‖(a, 1)‖."""
    inputs, outputs, hooks = {}, {}, []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):

            def keep(_: nn.Module, given: tuple[Tensor], made: Tensor, name: str = name) -> None:
                inputs[name], outputs[name] = given[0].detach(), made

            hooks.append(layer.register_forward_hook(keep))
    loss = F.cross_entropy(model(x), y, reduction="sum")
    for hook in hooks:
        hook.remove()
    deltas = dict(zip(outputs, torch.autograd.grad(loss, list(outputs.values())), strict=True))
    squares = [deltas[name].square().sum(1) * (inputs[name].square().sum(1) + 1) for name in deltas]
    shrink = (clip / torch.stack(squares).sum(0).sqrt()).clamp(max=1.0)[:, None]
    sums = {}
    for name, delta in deltas.items():
        prefix = f"{name}." if name else ""
        sums[f"{prefix}weight"], sums[f"{prefix}bias"] = (shrink * delta).T @ inputs[name], (shrink * delta).sum(0)
    return sums
