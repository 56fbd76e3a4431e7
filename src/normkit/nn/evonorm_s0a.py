"""EvoNorm-S0a: normalisation and activation in one layer, of each sample by itself, blind to the batch.

    y = x·σ(v x) / sqrt(s² + ε) · γ + β,   s² = population variance of the sample's group of C/G channels

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3;
the variant is that of timm, `EvoNorm2dS0a`.
"""

import torch
from torch import Tensor

from normkit.functional.evonorm_s0 import evonorm_s0
from normkit.nn._evonorm import EvoNormS

__all__ = ["EvoNorm1dS0a", "EvoNorm2dS0a", "EvoNorm3dS0a"]


class EvoNorm2dS0a(EvoNormS):
    """y = x·σ(v x) / sqrt(s² + ε) · γ + β; EvoNorm-S0 in timm's variant, for its checkpoints.

    The same in training and evaluation; no running statistics. `state_dict` as timm's: `weight` (γ), `bias` (β), `v`.

    Args:
        num_features: C, channels.
        groups: G, divides C.
        group_size: channels of a group, in place of `groups`.
        apply_act: False leaves out the activation alone: y = x / sqrt(s² + ε) · γ + β, without `v`. The default ε is
            the variant's other difference.
        eps: ε, added to the variance.
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) → the same.

    Raises:
        ValueError: C is not divided by `groups` or `group_size` (the message lists what fits), `eps` < 0; in the call,
            the input is not (B, C, H, W).
        TypeError: in the call, the input is no float tensor.
    """

    slope = True

    def __init__(
        self,
        num_features: int,
        groups: int = 32,
        group_size: int | None = None,
        apply_act: bool = True,
        eps: float = 1e-3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, groups, group_size, apply_act, eps, device, dtype)

    def _normalized(self, input: Tensor) -> Tensor:
        return evonorm_s0(input, self.weight, self.bias, self.v, self.groups, self.eps)

    def _without_activation(self, input: Tensor) -> Tensor:
        # x·σ(0·x) is x/2 to the bit, and 2γ as exact: the same kernels give x/sqrt(s² + ε)
        none = torch.zeros_like(self.weight)
        return evonorm_s0(input, 2 * self.weight, self.bias, none, self.groups, self.eps)


class EvoNorm1dS0a(EvoNorm2dS0a):
    """EvoNorm-S0a over sequences; arguments as `EvoNorm2dS0a`. Shape: (B, C, L) → the same."""

    space = 1


class EvoNorm3dS0a(EvoNorm2dS0a):
    """EvoNorm-S0a over volumes; arguments as `EvoNorm2dS0a`. Shape: (B, C, D, H, W) → the same."""

    space = 3
