"""EvoNorm-B0: normalisation and activation in one layer, by the larger of a batch and an instance denominator.

    y = x / max( sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε) ) · γ + β

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3.
"""

import torch
from torch import Tensor

from normkit.functional.evonorm_b0 import evonorm_b0
from normkit.nn._evonorm import EvoNormB

__all__ = ["EvoNorm1dB0", "EvoNorm2dB0", "EvoNorm3dB0"]


class EvoNorm2dB0(EvoNormB):
    """y = x / max( sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε) ) · γ + β; a normaliser *and* its activation.

    Training takes s²_batch from the batch, lets the gradient pass through it and moves `running_var` (unbiased, kept in
    float32 or wider) once per call: activation checkpointing, which calls twice, moves it twice. Evaluation uses
    `running_var`. `state_dict` as timm's: `weight` (γ), `bias` (β), `v`, `running_var`.

    Args:
        num_features: C, channels.
        apply_act: False for a normaliser without activation behind it (before a residual sum): the paper reduces the
            layer to γ x + β, without `v`; `running_var` is then not used.
        momentum: weight of a batch in the moving average.
        eps: ε, added to the variances; in half precision 1e-3 keeps the denominator away from 0.
        sync: take s²_batch over all ranks of `torch.distributed` in training (an all-gather; gradients pass).
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) → the same.

    Raises:
        ValueError: `eps` < 0 or `momentum` outside [0, 1]; in the call, the input is not (B, C, H, W), or in training
            it is one sample with maps of 1×1.
        TypeError: in the call, the input is no float tensor.
    """

    slope = True

    def __init__(
        self,
        num_features: int,
        apply_act: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-3,
        *,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, apply_act, momentum, eps, sync=sync, device=device, dtype=dtype)

    def _normalized(self, input: Tensor, running_var: Tensor, training: bool) -> Tensor:
        parameters = (self.weight, self.bias, self.v)
        return evonorm_b0(input, *parameters, running_var, training, self.momentum, self.eps)


class EvoNorm1dB0(EvoNorm2dB0):
    """EvoNorm-B0 over sequences; arguments as `EvoNorm2dB0`. Shape: (B, C, L) → the same."""

    space = 1


class EvoNorm3dB0(EvoNorm2dB0):
    """EvoNorm-B0 over volumes; arguments as `EvoNorm2dB0`. Shape: (B, C, D, H, W) → the same."""

    space = 3
