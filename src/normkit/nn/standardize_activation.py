"""Any activation with mean 0 and variance 1 under N(0, 1), so that depth neither adds an offset nor changes the scale.

    φ̂(x) = (φ(x) − E φ(z)) / √Var φ(z),   z ~ N(0, 1)

Source: Radhakrishnan, Belkin, Uhler 2023, arXiv:2204.14126 (E φ = 0 and E φ² = 1 of the activations).
"""

import math

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.nn.normal_moments import normal_moments

__all__ = ["StandardizedActivation", "standardize_activation"]


class StandardizedActivation(nn.Module):
    """φ̂(x) = (φ(x) − mean) / std of an activation φ, with its moments under N(0, 1).

    The constants are taken once: where φ has parameters that train, standardise again afterwards.

    Args:
        activation: φ, element-wise.

    Shape:
        (*) → the same.

    Raises:
        ValueError: φ is constant, not element-wise or not finite.
        TypeError: in the call, the input is no float tensor.
    """

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        moments = normal_moments(activation)
        if not moments.variance > 1e-24 * max(1.0, moments.second):
            raise ValueError(f"{activation} is constant under N(0, 1): it has no variance to divide by")
        self.activation, self.mean, self.std = activation, moments.mean, math.sqrt(moments.variance)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """φ̂ of every element; float16 and bfloat16 are widened to float32 and narrowed at the end."""
        if not input.is_floating_point():
            raise TypeError(f"StandardizedActivation takes a float tensor, got {input.dtype}")
        wide = input.float() if input.dtype.itemsize < 4 else input
        y: Tensor = (self.activation(wide) - self.mean) / self.std
        return y.to(input.dtype)

    def extra_repr(self) -> str:
        """The constants."""
        return f"mean={self.mean:.6g}, std={self.std:.6g}"


def standardize_activation(activation: nn.Module) -> StandardizedActivation:
    """The activation with mean 0 and variance 1 under N(0, 1); the constants come by quadrature.

    Shape:
        (*) → the same, element-wise.

    Args:
        activation: any element-wise torch module, such as `torch.nn.ReLU()`.

    Raises:
        ValueError: it is constant, not element-wise or not finite.
    """
    return StandardizedActivation(activation)
