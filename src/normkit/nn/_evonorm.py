"""What the EvoNorm layers of a series share: S looks at each sample by itself, B at the batch too.

A layer states its formula (`_normalized`), whether it has the slope v, and over how many axes of space it goes.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.evonorm_b0 import evonorm_b0
from normkit.functional.evonorm_s0 import evonorm_s0
from normkit.kernels.arguments import check_eps
from normkit.kernels.channels import check_groups
from normkit.kernels.reference.evonorm import move_variance
from normkit.nn._maps import check_maps
from normkit.nn._ranks import moments_over_ranks
from normkit.nn._running import RunningStatistics, running_dtype

__all__ = ["EvoNormB", "EvoNormS"]


class EvoNormS(nn.Module):
    """y = x·σ(…)/(a statistic of the sample's group of channels) · γ + β."""

    space: ClassVar[int] = 2
    slope: ClassVar[bool] = False
    weight: nn.Parameter
    bias: nn.Parameter
    v: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        groups: int = 32,
        group_size: int | None = None,
        apply_act: bool = True,
        eps: float = 1e-5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_eps(name, eps)
        if group_size is not None:
            check_groups(name, num_features, group_size, "groups of {}")
            groups = num_features // group_size
        check_groups(name, num_features, groups)
        self.num_features = num_features
        self.groups = groups
        self.apply_act = apply_act
        self.eps = eps
        _parameters(self, num_features, apply_act and self.slope, device, dtype)

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, and v = 1 where there is one."""
        _reset(self)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise and activate."""
        check_maps(type(self).__name__, input, self.num_features, self.space)
        if not self.apply_act:
            return self._without_activation(input)
        return self._normalized(input)

    def _normalized(self, input: Tensor) -> Tensor:
        raise NotImplementedError

    def _without_activation(self, input: Tensor) -> Tensor:
        """γ x + β, as in the paper."""
        return evonorm_s0(input, self.weight, self.bias, None, self.groups, self.eps)

    def extra_repr(self) -> str:
        """The options."""
        return f"{self.num_features}, groups={self.groups}, apply_act={self.apply_act}, eps={self.eps}"


class EvoNormB(RunningStatistics):
    """y = x / max(sqrt(s²_batch + ε), a function of x and its sample) · γ + β."""

    space: ClassVar[int] = 2
    slope: ClassVar[bool] = False
    running_var: Tensor
    weight: nn.Parameter
    bias: nn.Parameter
    v: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        apply_act: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
        *,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_eps(name, eps)
        if not 0 <= momentum <= 1:
            raise ValueError(f"{name}: momentum must lie in [0, 1], got {momentum}")
        self.num_features = num_features
        self.apply_act = apply_act
        self.momentum = momentum
        self.eps = eps
        self.sync = sync
        _parameters(self, num_features, apply_act and self.slope, device, dtype)
        self.register_buffer("running_var", torch.ones(num_features, device=device, dtype=running_dtype(dtype)))

    def reset_running_stats(self) -> None:
        """running_var = 1."""
        self.running_var.fill_(1)

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, running_var = 1, and v = 1 where there is one."""
        self.reset_running_stats()
        _reset(self)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise and activate; in training, move `running_var`."""
        check_maps(type(self).__name__, input, self.num_features, self.space)
        if not self.apply_act:
            return evonorm_b0(input, self.weight, self.bias, None, self.running_var, eps=self.eps)
        if self.training and self.sync:
            return self._normalized(input, self._variance_over_ranks(input), False)
        return self._normalized(input, self.running_var, self.training)

    def _normalized(self, input: Tensor, running_var: Tensor, training: bool) -> Tensor:
        raise NotImplementedError

    def _variance_over_ranks(self, input: Tensor) -> Tensor:
        _, variance, count = moments_over_ranks(input)
        if count == 1:
            raise ValueError(
                f"{type(self).__name__}: the batch's variance needs more than one value a channel in training, over "
                f"all ranks; got an input of shape {tuple(input.shape)}"
            )
        move_variance(self.running_var, variance, count, self.momentum)
        return variance

    def extra_repr(self) -> str:
        """The options."""
        options = {"apply_act": self.apply_act, "momentum": self.momentum, "eps": self.eps, "sync": self.sync}
        return ", ".join([str(self.num_features), *(f"{name}={value}" for name, value in options.items())])


def _parameters(
    layer: nn.Module, channels: int, slope: bool, device: torch.device | str | None, dtype: torch.dtype | None
) -> None:
    layer.weight = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))
    layer.bias = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))
    layer.register_parameter("v", nn.Parameter(torch.ones(channels, device=device, dtype=dtype)) if slope else None)


def _reset(layer: EvoNormS | EvoNormB) -> None:
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    if layer.v is not None:
        nn.init.ones_(layer.v)
