"""Learnable region normalisation (RN-L): the layer finds the regions itself, then applies one affine map a pixel.

    m = sigmoid(conv([mean_c x; max_c x])),  R = 1[m ≥ t],  y = x̂_R (1 + γ) + β,  γ = conv_γ(m),  β = conv_β(m)

Source: Yu et al. 2020, "Region Normalization for Image Inpainting", arXiv:1911.10375, section 3.3.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.kernels.reference._precision import statistics_dtype
from normkit.nn._maps import check_maps
from normkit.nn.region_norm import RegionNorm2d

__all__ = ["RNL"]


class _Attention(nn.Module):
    """The importance m of each pixel, and from it the scale γ and the shift β of each pixel, all (batch, 1, H, W)."""

    def __init__(self, kernel_size: int, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv1 = nn.Conv2d(2, 1, kernel_size, padding=padding, bias=False, device=device, dtype=dtype)
        self.gamma_conv = nn.Conv2d(1, 1, kernel_size, padding=padding, device=device, dtype=dtype)
        self.beta_conv = nn.Conv2d(1, 1, kernel_size, padding=padding, device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        for convolution in (self.conv1, self.gamma_conv, self.beta_conv):
            convolution.reset_parameters()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        importance = torch.sigmoid(self.conv1(pooled))
        return importance, self.gamma_conv(importance), self.beta_conv(importance)


class RNL(RegionNorm2d):
    """y = x̂_R (1 + γ) + β, R = 1[m ≥ t]; for the later layers, where the holes are filled in part.

    x̂_R is x normalised within the two regions R and 1 − R. The importance m is a sigmoid of a convolution of the
    channels' mean and maximum; γ and β, one of each for a pixel and the same for all channels, are convolutions of m.
    The threshold passes no gradient: it reaches `sa.conv1` through γ and β alone. As long as m < t everywhere (at first
    m ≈ 0.5) there is one region, and the layer is an instance or batch normalisation with an affine map by pixel.
    `state_dict` as in the authors' code: `sa.conv1.weight`, `sa.gamma_conv.weight`, `sa.gamma_conv.bias`,
    `sa.beta_conv.weight`, `sa.beta_conv.bias`.

    Args:
        num_features: C, channels.
        threshold: t, in (0, 1).
        kernel_size: of the three convolutions, 7 or 3.
        style: "instance" (the paper) or "batch" (the authors' code), see `RegionNorm2d`.
        eps: ε, added to the variance.
        eps_mode: "plain"; "official" is ε·N/S_k, as the authors' code has it.
        sync: batch style only: take the statistics over all ranks of `torch.distributed`.
        device, dtype: of the parameters.

    Shape:
        (batch, C, H, W) → the same.

    Raises:
        TypeError: in the call, the input is no float tensor.
        ValueError: a kernel size other than 3 or 7, a threshold outside (0, 1), an unknown style or mode, `eps` < 0; in
            the call, the input is not (batch, C, H, W).
    """

    def __init__(
        self,
        num_features: int,
        threshold: float = 0.8,
        kernel_size: int = 7,
        style: str = "instance",
        eps: float = 1e-5,
        eps_mode: str = "plain",
        *,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(style, eps, eps_mode, num_regions=2, sync=sync)
        if kernel_size not in (3, 7):
            raise ValueError(f"RNL: kernel_size is 3 or 7, so that the maps keep their size, not {kernel_size}")
        if not 0 < threshold < 1:
            raise ValueError(
                f"RNL: threshold must lie in (0, 1), as the sigmoid does that it is held against, got {threshold}"
            )
        self.num_features, self.threshold, self.kernel_size = num_features, threshold, kernel_size
        self.sa = _Attention(kernel_size, device, dtype)

    def reset_parameters(self) -> None:
        """The convolutions as torch initialises them."""
        self.sa.reset_parameters()

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:  # type: ignore[override]
        """Find the regions of `input` and normalise them."""
        check_maps("RNL", input, self.num_features)
        importance, gamma, beta = self.sa(input)
        x = input.to(statistics_dtype(input.dtype))
        normal = self._normalize(x, importance >= self.threshold, 2)
        return torch.addcmul(beta.to(x.dtype), normal, 1 + gamma.to(x.dtype)).to(input.dtype)

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.num_features}, threshold={self.threshold}, kernel_size={self.kernel_size}, style={self.style!r}, "
            f"eps={self.eps}, eps_mode={self.eps_mode!r}"
        )
