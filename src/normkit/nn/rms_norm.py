"""RMS normalisation: divide by the root mean square over the trailing axes.

    y = x / sqrt(mean(x²) + ε) · (offset + γ) + β

Source: Zhang and Sennrich 2019, arXiv:1910.07467. With β it is what LayerNorm becomes on zero-mean vectors
(Jiang et al. 2023, "Pre-RMSNorm and Pre-CRMSNorm Transformers", arXiv:2305.14858, section 3).
"""

from typing import Any, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.rms_norm import rms_norm
from normkit.kernels.arguments import check_eps

__all__ = ["RMSNorm"]


class RMSNorm(nn.RMSNorm):
    """y = x / sqrt(mean(x²) + ε) · (offset + γ) + β over the trailing axes.

    A `torch.nn.RMSNorm` in arguments, `state_dict` (`weight`, and `bias` if asked for) and `isinstance`; the statistic
    is taken in float32 or wider, and the result has the input's dtype.

    Args:
        normalized_shape: sizes of the trailing axes that share their statistic.
        eps: ε, added to the mean square; None is the machine epsilon of the type of the statistic.
        elementwise_affine: whether there is γ.
        bias: whether there is β.
        offset: added to γ, which starts at 1 − offset (Gemma: 1).
        cast: where half precision is rounded: "torch" and "gemma" once, after the affine part; "llama" before it.
        device, dtype: of the parameters.

    Shape:
        (*, *normalized_shape) → the same.

    Raises:
        ValueError: `eps` < 0, `cast` is unknown, or `bias` without `elementwise_affine`; in the call, the input does
            not end in `normalized_shape`.
        TypeError: in the call, the input is no float tensor.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        normalized_shape: int | list[int] | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        bias: bool = False,
        offset: float = 0.0,
        cast: str = "torch",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_eps("RMSNorm", eps)
        if cast not in ("torch", "llama", "gemma"):
            raise ValueError(f"RMSNorm: cast is 'torch', 'llama' or 'gemma', not {cast!r}")
        if bias and not elementwise_affine:
            raise ValueError("RMSNorm: bias=True needs elementwise_affine=True")
        self.offset = offset
        super().__init__(normalized_shape, eps, elementwise_affine, device=device, dtype=dtype)
        self.cast = cast
        shift = torch.zeros(self.normalized_shape, device=device, dtype=dtype) if bias else None
        self.register_parameter("bias", None if shift is None else nn.Parameter(shift))

    def reset_parameters(self) -> None:
        """Gain 1 (γ = 1 − offset), shift 0."""
        if self.elementwise_affine:
            nn.init.constant_(self.weight, 1.0 - self.offset)
            shift = getattr(self, "bias", None)  # torch's constructor calls this before there is one
            if shift is not None:
                nn.init.zeros_(shift)

    def forward(self, x: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise the trailing axes of `x`."""
        options: dict[str, Any] = {"bias": self.bias, "offset": self.offset, "cast": self.cast}
        return cast(Tensor, rms_norm(x, self.normalized_shape, self.weight, self.eps, **options))

    def extra_repr(self) -> str:
        """The options, those of torch's layer first."""
        own = {"bias": self.bias is not None, "offset": self.offset, "cast": self.cast}
        return ", ".join([super().extra_repr(), *(f"{name}={value!r}" for name, value in own.items())])
