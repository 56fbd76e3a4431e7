"""Layer normalisation: mean and variance over the units of one layer, for one case.

    y = γ (x − μ) / sqrt(σ² + ε) + β,   σ² = population variance over the trailing axes

Source: Ba, Kiros, Hinton 2016, "Layer Normalization", arXiv:1607.06450, section 3.
"""

from typing import cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.layer_norm import layer_norm
from normkit.kernels.arguments import check_eps

__all__ = ["LayerNorm"]


class LayerNorm(nn.LayerNorm):
    """y = γ (x − μ) / sqrt(σ² + ε) + β over the trailing axes; the same in training and evaluation.

    A `torch.nn.LayerNorm` in arguments, `state_dict` (`weight`, `bias`) and `isinstance`; statistics are taken in
    float32 or wider, and the result has the input's dtype.

    Args:
        normalized_shape: sizes of the trailing axes that share their statistics.
        eps: ε, added to the variance.
        elementwise_affine: whether there are γ and β.
        bias: whether there is β.
        device, dtype: of the parameters.

    Shape:
        (*, *normalized_shape) → the same.

    Raises:
        ValueError: `eps` < 0; in the call, the input does not end in `normalized_shape`.
        TypeError: in the call, the input is no float tensor.
    """

    def __init__(
        self,
        normalized_shape: int | list[int] | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_eps("LayerNorm", eps)
        super().__init__(normalized_shape, eps, elementwise_affine, bias, device, dtype)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise the trailing axes of `input`."""
        return cast(Tensor, layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps))
