"""Group normalisation: mean and variance over a group of channels of one sample.

    y = γ (x − μ) / sqrt(σ² + ε) + β,   μ, σ² of C/G channels and all positions of one sample

Source: Wu and He 2018, "Group Normalization", arXiv:1803.08494, equation 7.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.group_norm import group_norm
from normkit.kernels.arguments import check_eps
from normkit.kernels.channels import check_groups

__all__ = ["GroupNorm"]


class GroupNorm(nn.GroupNorm):
    """y = γ (x − μ) / sqrt(σ² + ε) + β by groups of channels; the same in training and evaluation.

    A `torch.nn.GroupNorm` in arguments, `state_dict` (`weight`, `bias`) and `isinstance`; statistics are taken in
    float32 or wider, and the result has the input's dtype.

    Args:
        num_groups: G, divides C.
        num_channels: C.
        eps: ε, added to the variance.
        affine: whether there are γ and β.
        device, dtype: of the parameters.

    Shape:
        (B, C, *) → the same.

    Raises:
        ValueError: G does not divide C (the message lists what does), `eps` < 0; in the call, the input is not
            (B, C, *) or a group has a single value.
        TypeError: in the call, the input is no float tensor.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_eps("GroupNorm", eps)
        check_groups("GroupNorm", num_channels, num_groups)
        super().__init__(num_groups, num_channels, eps, affine, device, dtype)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise the groups of `input`."""
        if input.ndim >= 2 and input.shape[1] != self.num_channels:
            raise ValueError(
                f"GroupNorm: made for {self.num_channels} channels, got an input of shape {tuple(input.shape)}"
            )
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
