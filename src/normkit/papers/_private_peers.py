"""What private similarity is compared with: phase features, noise of each query, training with private gradients."""

import math
import time

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from normkit.estimators import gaussian_sigma
from normkit.estimators.private.features import draw_frequencies
from normkit.estimators.private.noise import add_noise

__all__ = ["fresh_noise", "phase_density", "train_privately"]

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
) -> float:
    """Full-batch gradient descent with each row's gradient clipped to `clip`; returns its seconds of processor time.

    All steps together are one Gaussian mechanism of sensitivity clip · √steps, so σ is exact. The noise is torch's:
    only accuracy and time are compared.
    """
    generator = torch.Generator().manual_seed(seed)
    sigma = gaussian_sigma(epsilon, delta, clip * math.sqrt(steps))
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss(values: dict[str, Tensor], row: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, values, (row[None],)), label[None])

    started, gradients = time.process_time(), vmap(grad(loss), in_dims=(None, 0, 0))
    for _ in range(steps):
        each = gradients(parameters, x, y)
        norm = torch.stack([g.flatten(1).square().sum(1) for g in each.values()]).sum(0).sqrt()
        shrink = (clip / norm).clamp(max=1.0)
        for name, value in parameters.items():
            total = torch.einsum("n,n...->...", shrink, each[name])
            total += sigma * torch.randn(total.shape, generator=generator)
            value -= lr * total / len(x)
    seconds = time.process_time() - started
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(parameters[name])
    return seconds
