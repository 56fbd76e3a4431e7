"""Convolutions and linear maps that compute with standardised weights, under torch's own parameter names.

For networks that are built with them; `weight_standardization` gives the same to a layer that exists. Their checkpoints
are those of the plain layers: `weight` is W, and `bias` is not touched.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.weight_standardize import weight_standardize

__all__ = ["WSConv1d", "WSConv2d", "WSConv3d", "WSLinear"]


class _Standardized(nn.Module):
    """What the standardised layers share: the options, the gain, and the weight that the layer computes with.

    Standardising sets the output's scale to √n, n the entries of a filter, so a normaliser must follow the layer. With
    `gain=True` each filter is multiplied by g_o/√n, g_o a learnable `gain` that starts at 1.
    """

    weight: nn.Parameter
    gain: nn.Parameter | None

    def _standardize(self, variant: str, eps: float | None, gain: bool) -> None:
        self.variant = variant
        self.eps = eps
        self.register_parameter("gain", nn.Parameter(self.weight.new_ones(self.weight.shape[0])) if gain else None)
        try:
            self.standardized_weight()
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}({self.extra_repr()}): {error}") from None

    def standardized_weight(self) -> Float[Tensor, "filters ..."]:
        """Ŵ, the weight that the layer computes with."""
        standardized = weight_standardize(self.weight, self.variant, self.eps)
        if self.gain is None:
            return standardized
        scale = self.gain * self.weight[0:1].numel() ** -0.5
        return standardized * scale.reshape(-1, *[1] * (self.weight.ndim - 1))


class _StandardizedConv(_Standardized):
    """The arguments of torch's convolutions, then those of the standardisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | str | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        variant: str = "official",
        eps: float | None = None,
        gain: bool = False,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self._standardize(variant, eps, gain)

    def forward(self, input: Shaped[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Convolve with Ŵ."""
        return self._conv_forward(input, self.standardized_weight(), self.bias)  # type: ignore[operator]


class WSConv1d(_StandardizedConv, nn.Conv1d):
    """`torch.nn.Conv1d` that convolves with Ŵ_o = (W_o − mean W_o)/σ_o (Qiao et al. 2020, arXiv:1903.10520).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype:
            as torch's.
        variant: the denominator, "official", "bcn" or "timm", see `normkit.functional.weight_standardize`.
        eps: ε; None is the variant's own.
        gain: whether Ŵ_o is multiplied by g_o/√n with a learnable `gain` g.

    Shape:
        (B, in_channels, L) → (B, out_channels, L').

    Raises:
        ValueError: filters of a single entry (1×1 depthwise), an unknown `variant`, or `eps` < 0; names the layer.
    """


class WSConv2d(_StandardizedConv, nn.Conv2d):
    """`torch.nn.Conv2d` that convolves with Ŵ_o = (W_o − mean W_o)/σ_o (Qiao et al. 2020, arXiv:1903.10520).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype:
            as torch's.
        variant: the denominator, "official", "bcn" or "timm", see `normkit.functional.weight_standardize`.
        eps: ε; None is the variant's own.
        gain: whether Ŵ_o is multiplied by g_o/√n with a learnable `gain` g.

    Shape:
        (B, in_channels, H, W) → (B, out_channels, H', W').

    Raises:
        ValueError: filters of a single entry (1×1 depthwise), an unknown `variant`, or `eps` < 0; names the layer.
    """


class WSConv3d(_StandardizedConv, nn.Conv3d):
    """`torch.nn.Conv3d` that convolves with Ŵ_o = (W_o − mean W_o)/σ_o (Qiao et al. 2020, arXiv:1903.10520).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype:
            as torch's.
        variant: the denominator, "official", "bcn" or "timm", see `normkit.functional.weight_standardize`.
        eps: ε; None is the variant's own.
        gain: whether Ŵ_o is multiplied by g_o/√n with a learnable `gain` g.

    Shape:
        (B, in_channels, D, H, W) → (B, out_channels, D', H', W').

    Raises:
        ValueError: filters of a single entry (1×1 depthwise), an unknown `variant`, or `eps` < 0; names the layer.
    """


class WSLinear(_Standardized, nn.Linear):
    """`torch.nn.Linear` with Ŵ_o = (W_o − mean W_o)/σ_o (Qiao et al. 2020, arXiv:1903.10520).

    Args:
        in_features, out_features, bias, device, dtype: as torch's.
        variant: the denominator, "official", "bcn" or "timm", see `normkit.functional.weight_standardize`.
        eps: ε; None is the variant's own.
        gain: whether Ŵ_o is multiplied by g_o/√n with a learnable `gain` g.

    Shape:
        (*, in_features) → (*, out_features).

    Raises:
        ValueError: one input feature, an unknown `variant`, or `eps` < 0; names the layer.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        variant: str = "official",
        eps: float | None = None,
        gain: bool = False,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self._standardize(variant, eps, gain)

    def forward(self, input: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """Map with Ŵ."""
        return nn.functional.linear(input, self.standardized_weight(), self.bias)
