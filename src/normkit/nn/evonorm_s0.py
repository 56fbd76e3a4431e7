"""EvoNorm-S0: normalisation and activation in one layer, of each sample by itself, blind to the batch.

    y = x·σ(v x) / sqrt(s² + ε) · γ + β,   s² = population variance of the sample's group of C/G channels

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.evonorm_s0 import evonorm_s0
from normkit.kernels.arguments import check_eps
from normkit.kernels.channels import check_groups
from normkit.nn._maps import check_maps

__all__ = ["EvoNorm2dS0"]


class EvoNorm2dS0(nn.Module):
    """y = x·σ(v x) / sqrt(s² + ε) · γ + β; takes the place of a normaliser *and* the activation behind it.

    The same in training and evaluation; no running statistics. `state_dict` as timm's: `weight` (γ), `bias` (β), `v`.

    Args:
        num_features: C, channels.
        groups: G, divides C.
        group_size: channels of a group, in place of `groups`.
        apply_act: False for a normaliser without activation behind it (before a residual sum): the paper reduces the
            layer to γ x + β, without `v`.
        eps: ε, added to the variance.
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) → the same.

    Raises:
        ValueError: C is not divided by `groups` or `group_size` (the message lists what fits), `eps` < 0; in the call,
            the input is not (B, C, H, W).
        TypeError: in the call, the input is no float tensor.
    """

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
        check_eps("EvoNorm2dS0", eps)
        if group_size is not None:
            check_groups("EvoNorm2dS0", num_features, group_size, "groups of {}")
            groups = num_features // group_size
        check_groups("EvoNorm2dS0", num_features, groups)
        self.num_features = num_features
        self.groups = groups
        self.apply_act = apply_act
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype))
        slope = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype)) if apply_act else None
        self.register_parameter("v", slope)

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, v = 1."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        if self.v is not None:
            nn.init.ones_(self.v)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise and activate."""
        check_maps("EvoNorm2dS0", input, self.num_features)
        return evonorm_s0(input, self.weight, self.bias, self.v, self.groups, self.eps)

    def extra_repr(self) -> str:
        """The options."""
        return f"{self.num_features}, groups={self.groups}, apply_act={self.apply_act}, eps={self.eps}"
