"""EvoNorm-S1: normalisation and activation in one layer, of each sample by itself, blind to the batch.

    y = x·σ(x) / sqrt(s² + ε) · γ + β,   s² = population variance of the sample's group of C/G channels

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3.
"""

from torch import Tensor

from normkit.functional.evonorm_s1 import evonorm_s1
from normkit.nn._evonorm import EvoNormS

__all__ = ["EvoNorm1dS1", "EvoNorm2dS1", "EvoNorm3dS1"]


class EvoNorm2dS1(EvoNormS):
    """y = x·σ(x) / sqrt(s² + ε) · γ + β; a normaliser *and* its activation.

    The same in training and evaluation; no running statistics. `state_dict` as timm's: `weight` (γ), `bias` (β).

    Args:
        num_features: C, channels.
        groups: G, divides C.
        group_size: channels of a group, in place of `groups`.
        apply_act: False for a normaliser without activation behind it (before a residual sum): the paper reduces the
            layer to γ x + β.
        eps: ε, added to the variance.
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) → the same.

    Raises:
        ValueError: C is not divided by `groups` or `group_size` (the message lists what fits), `eps` < 0; in the call,
            the input is not (B, C, H, W).
        TypeError: in the call, the input is no float tensor.
    """

    def _normalized(self, input: Tensor) -> Tensor:
        return evonorm_s1(input, self.weight, self.bias, self.groups, self.eps)


class EvoNorm1dS1(EvoNorm2dS1):
    """EvoNorm-S1 over sequences; arguments as `EvoNorm2dS1`. Shape: (B, C, L) → the same."""

    space = 1


class EvoNorm3dS1(EvoNorm2dS1):
    """EvoNorm-S1 over volumes; arguments as `EvoNorm2dS1`. Shape: (B, C, D, H, W) → the same."""

    space = 3
