"""A layer that computes a graph of primitive operations, as the search for normalisation-activation layers finds them.

    y = graph(x, v₀, v₁) · γ + β

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, section 3.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.kernels.arguments import check_eps
from normkit.kernels.channels import check_groups
from normkit.kernels.reference._precision import statistics_dtype
from normkit.nn._maps import check_maps
from normkit.nn._ranks import moments_of, moments_over_ranks
from normkit.nn._running import RunningStatistics, running_dtype
from normkit.nn.graph import Graph, evaluate

__all__ = ["GraphNorm2d"]


class GraphNorm2d(RunningStatistics):
    """y = graph(x, v₀, v₁) · γ + β; a normaliser *and* its activation.

    Moments over the batch are the batch's own in training, and the gradient passes through them; evaluation takes
    moving averages of the operand's mean m and mean square q instead, which a call in training moves once (activation
    checkpointing, which calls twice, moves them twice). They are kept as m and q − m², which loses nothing where the
    mean is far from 0. `state_dict`: `weight` (γ), `bias` (β), `v0` and `v1` where the graph reads them, and, where
    it takes moments over the batch, `running_mean` and `running_var`, one row for each of them.

    Args:
        graph: what to compute; a `Graph` or its nodes (operation, a, b).
        num_features: C, channels.
        groups: into how many groups the channels are cut, for moments over groups.
        momentum: weight of a batch in the moving averages.
        eps: ε inside the roots of the second moments.
        sync: take moments over the batch over all ranks of `torch.distributed` in training.
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) → the same.

    Raises:
        ValueError: a graph with an unknown operation or a forward reference; `num_features` not divisible by `groups`
            where the graph has moments over groups; `eps` < 0 or `momentum` outside [0, 1]; in the call, the input is
            not (B, C, H, W), or in training a moment over the batch would be one of a single value.
        TypeError: in the call, the input is no float tensor.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor
    v0: nn.Parameter | None
    v1: nn.Parameter | None

    def __init__(
        self,
        graph: Graph | Iterable[Any],
        num_features: int,
        groups: int = 32,
        momentum: float = 0.1,
        eps: float = 1e-5,
        *,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.graph = graph if isinstance(graph, Graph) else Graph(graph)
        check_eps("GraphNorm2d", eps)
        if not 0 <= momentum <= 1:
            raise ValueError(f"GraphNorm2d: momentum must lie in [0, 1], got {momentum}")
        if self.graph.moments("group"):
            check_groups("GraphNorm2d", num_features, groups)
        self.num_features = num_features
        self.groups = groups
        self.momentum = momentum
        self.eps = eps
        self.sync = sync
        reads = {name: index in self.graph.reachable for name, index in (("v0", 2), ("v1", 3))}
        for name, present in {"weight": True, "bias": True, **reads}.items():
            empty = torch.empty(num_features, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(empty) if present else None)
        if rows := len(self.graph.moments("batch")):
            for name in ("running_mean", "running_var"):
                running = torch.empty(rows, num_features, device=device, dtype=running_dtype(dtype))
                self.register_buffer(name, running)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """running_mean = 0 and running_var = 1, where there are any."""
        if self.graph.moments("batch"):
            self.running_mean.zero_()
            self.running_var.fill_(1)

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, v₀ = 0, v₁ = 1, running_mean = 0, running_var = 1."""
        self.reset_running_stats()
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0), (self.v0, 0.0), (self.v1, 1.0)):
            if parameter is not None:
                nn.init.constant_(parameter, value)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise and activate; in training, move the running statistics."""
        check_maps("GraphNorm2d", input, self.num_features)
        x = input.to(statistics_dtype(input.dtype))
        moments = {node: partial(self._moments, row) for row, node in enumerate(self.graph.moments("batch"))}
        y = evaluate(self.graph, x, self.v0, self.v1, self.groups, self.eps, moments)
        weight, bias = (each.to(x.dtype).reshape(1, -1, 1, 1) for each in (self.weight, self.bias))
        return (y.expand(x.shape) * weight + bias).to(input.dtype)

    def _moments(self, row: int, a: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel for one moment over the batch."""
        if not self.training:
            return self.running_mean[row].to(a.dtype), self.running_var[row].to(a.dtype)
        mean, variance, count = moments_over_ranks(a) if self.sync else moments_of(a)
        if count == 1:
            raise ValueError(
                "GraphNorm2d: the graph takes a moment over the batch, which in training needs more than one value a "
                f"channel; got an input of shape {tuple(a.shape)}"
            )
        if count > 0:
            self._move(row, mean.detach(), variance.detach())
        return mean, variance

    @torch.no_grad()
    def _move(self, row: int, mean: Tensor, variance: Tensor) -> None:
        """Moving averages of mean and mean square, kept as m and q − m² (the terms of the two means' distance add)."""
        running_mean, running_var = self.running_mean[row], self.running_var[row]
        step = mean.to(running_mean.dtype) - running_mean
        running_var.lerp_(variance.to(running_var.dtype) + (1 - self.momentum) * step**2, self.momentum)
        running_mean.lerp_(mean.to(running_mean.dtype), self.momentum)

    def extra_repr(self) -> str:
        """The formula and the options."""
        options = {"groups": self.groups, "momentum": self.momentum, "eps": self.eps, "sync": self.sync}
        listed = ", ".join([str(self.num_features), *(f"{name}={value}" for name, value in options.items())])
        return f"{self.graph.formula()}, {listed}"
