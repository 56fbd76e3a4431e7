"""What a kernel offers to norms whose statistics belong to the channels of (…, channels), over all positions.

`native_columns` and `triton.columns` do; `power_norm` and `unified_norm` are written on top of either.
"""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Columns"]


@runtime_checkable
class Columns(Protocol):
    """The passes over x: affine in u = x s, s the scale of a position's group of channels, with the channels' sums."""

    def takes(self, *tensors: Tensor | None) -> bool:
        """Whether the kernels can read these tensors."""
        ...

    def forward(
        self,
        x: Tensor,
        gain: Tensor | None = None,
        shift: Tensor | None = None,
        *,
        groups: int = 0,
        eps: float = 0.0,
        scales: Tensor | None = None,
        left_out: Tensor | None = None,
        summed: bool = False,
    ) -> tuple[Any, Any, Any]:
        """u · gain + shift where there is a gain, the groups' scales, and where `summed` Σ u² (two sums a channel)."""
        ...

    def backward(
        self,
        x: Tensor,
        dy: Tensor,
        of_dy: Tensor | None = None,
        of_u: Tensor | None = None,
        *,
        scales: Tensor | None = None,
        summed: bool = False,
    ) -> tuple[Any, Any]:
        """The gradient for x of du = of_dy · dy − of_u · u, and where `summed` Σ dy u and Σ dy of each channel."""
        ...
