"""Weight standardisation as a parametrisation: the module computes with Ŵ, the optimiser moves W.

    Ŵ_o = (W_o − mean W_o) / σ_o   for each output filter o

Source: Qiao et al. 2020, "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
arXiv:1903.10520, section 3.1. The gain is that of Brock et al. 2021, arXiv:2101.08692, section 4.
"""

import warnings
from typing import TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normkit.functional.weight_standardize import weight_standardize

__all__ = ["WeightStandardization", "weight_standardization"]

Module = TypeVar("Module", bound=nn.Module)


class WeightStandardization(nn.Module):
    """W → Ŵ with Ŵ_o = (W_o − mean W_o)/σ_o, times g_o/√n where a gain is asked for.

    A parametrisation for `torch.nn.utils.parametrize`; `weight_standardization(module)` registers it. Assigning to the
    parametrised weight sets W; of it only what standardising leaves is seen.

    Args:
        variant: "official", "bcn" or "timm", see `normkit.functional.weight_standardize`.
        eps: ε; None is the variant's own.
        gain: number of filters of a learnable gain `gain`, g, which starts at 1 (n: entries of a filter); 0 for none.
        groups: None where the first axis of the weight counts the filters (linear maps, convolutions); the number of
            convolution groups where it counts inputs and the second axis filters (transposed convolutions).
        device, dtype: of the gain.

    Shape:
        (filters, …), or (inputs, filters / groups, …), → the same.

    Raises:
        ValueError: `variant` unknown, `eps` < 0 or filters of a single entry, in the call.
    """

    gain: nn.Parameter | None

    def __init__(
        self,
        variant: str = "official",
        eps: float | None = None,
        gain: int = 0,
        groups: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.variant = variant
        self.eps = eps
        self.groups = groups
        self.register_parameter("gain", nn.Parameter(torch.ones(gain, device=device, dtype=dtype)) if gain else None)

    def forward(self, weight: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Standardise the filters of `weight`."""
        filters = weight if self.groups is None else filters_first(weight, self.groups)
        standardized = weight_standardize(filters, self.variant, self.eps)
        if self.gain is not None:
            fan_in = filters[0:1].numel()
            standardized = standardized * (self.gain * fan_in**-0.5).reshape(-1, *[1] * (filters.ndim - 1))
        return standardized if self.groups is None else filters_second(standardized, self.groups)

    def right_inverse(self, weight: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """W = the weight assigned: standardising it changes nothing where it is standardised already."""
        return weight

    def extra_repr(self) -> str:
        """The options."""
        return f"variant={self.variant!r}, eps={self.eps}, gain={self.gain is not None}"


def weight_standardization(
    module: Module, name: str = "weight", variant: str = "official", eps: float | None = None, gain: bool = False
) -> Module:
    """Let `module` compute with the standardised form of its parameter `name`; changes the module and returns it.

    Only a layer that a normaliser follows should have it: standardising sets the scale of the output to √n. The shapes
    of weight and output stay; a bias is not touched. `normkit.weights.bake` makes the standardised weight plain again.

    Args:
        module: a linear map or (transposed) convolution, or any module whose parameter `name` is (filters, …).
        name: the parameter.
        variant: "official", "bcn" or "timm", see `normkit.functional.weight_standardize`.
        eps: ε; None is the variant's own.
        gain: whether each filter has a learnable gain g_o, and Ŵ_o is multiplied by g_o/√n.

    Raises:
        AttributeError: the module has no parameter `name`.
        ValueError: it is standardised already, has one axis, or its filters have a single entry; or `variant` is
            unknown; names the layer.

    Warns:
        UserWarning: the entries of some filter are all equal, which gives 0 and gradients of 1/ε.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise AttributeError(f"weight_standardization: {_named(module)} has no parameter {name!r}")
    twice = name == "weight" and hasattr(module, "standardized_weight")
    if twice or any(isinstance(step, WeightStandardization) for step in _steps(module, name)):
        raise ValueError(f"weight_standardization: {name!r} of {_named(module)} is standardised already")
    groups = int(module.groups) if getattr(module, "transposed", False) else None  # type: ignore[arg-type]
    filters = weight if groups is None else filters_first(weight, groups)
    try:
        weight_standardize(filters.detach(), variant, eps)
    except ValueError as error:
        raise ValueError(f"{_named(module)}: {error}") from None
    _warn_of_constant_filters(module, filters.detach())
    step = WeightStandardization(
        variant, eps, filters.shape[0] if gain else 0, groups, device=weight.device, dtype=weight.dtype
    )
    parametrize.register_parametrization(module, name, step)
    return module


def filters_first(weight: Tensor, groups: int) -> Tensor:
    """The weight (inputs, filters/groups, …) of a transposed convolution as (filters, inputs/groups, …)."""
    inputs, per_group, *kernel = weight.shape
    split = weight.reshape(groups, inputs // groups, per_group, *kernel)
    return split.transpose(1, 2).reshape(groups * per_group, inputs // groups, *kernel)


def filters_second(filters: Tensor, groups: int) -> Tensor:
    """The way back from `filters_first`."""
    count, inputs_per_group, *kernel = filters.shape
    split = filters.reshape(groups, count // groups, inputs_per_group, *kernel)
    return split.transpose(1, 2).reshape(groups * inputs_per_group, count // groups, *kernel)


def _steps(module: nn.Module, name: str) -> list[nn.Module]:
    return list(module.parametrizations[name]) if parametrize.is_parametrized(module, name) else []  # type: ignore[index]


def _warn_of_constant_filters(module: nn.Module, filters: Tensor) -> None:
    if filters.is_meta:
        return
    flat = filters.flatten(1)
    constant = int((flat == flat[:, :1]).all(1).sum())
    if constant:
        warnings.warn(
            f"{_named(module)}: {constant} of {len(flat)} filters have equal entries; standardised they are 0, and "
            "their gradients are divided by eps. Initialise them at random.",
            stacklevel=3,
        )


def _named(module: nn.Module) -> str:
    return f"{type(module).__name__}({module.extra_repr()})"
