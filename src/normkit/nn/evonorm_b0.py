"""EvoNorm-B0: normalisation and activation in one layer, by the larger of a batch and an instance denominator.

    y = x / max( sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε) ) · γ + β

Source: Liu et al. 2020, "Evolving Normalization-Activation Layers", arXiv:2004.02967, table 3.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.evonorm_b0 import evonorm_b0
from normkit.kernels.arguments import check_eps
from normkit.kernels.reference.evonorm import move_variance
from normkit.nn._maps import check_maps
from normkit.nn._ranks import moments_over_ranks
from normkit.nn._running import RunningStatistics, running_dtype

__all__ = ["EvoNorm2dB0"]


class EvoNorm2dB0(RunningStatistics):
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

    running_var: Tensor
    v: nn.Parameter | None

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
        super().__init__()
        check_eps("EvoNorm2dB0", eps)
        if not 0 <= momentum <= 1:
            raise ValueError(f"EvoNorm2dB0: momentum must lie in [0, 1], got {momentum}")
        self.num_features = num_features
        self.apply_act = apply_act
        self.momentum = momentum
        self.eps = eps
        self.sync = sync
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype))
        slope = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype)) if apply_act else None
        self.register_parameter("v", slope)
        self.register_buffer("running_var", torch.ones(num_features, device=device, dtype=running_dtype(dtype)))

    def reset_running_stats(self) -> None:
        """running_var = 1."""
        self.running_var.fill_(1)

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, v = 1, running_var = 1."""
        self.reset_running_stats()
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        if self.v is not None:
            nn.init.ones_(self.v)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise and activate; in training, move `running_var`."""
        check_maps("EvoNorm2dB0", input, self.num_features)
        parameters = (self.weight, self.bias, self.v)
        if self.training and self.sync and self.v is not None:
            return evonorm_b0(input, *parameters, self._variance_over_ranks(input), training=False, eps=self.eps)
        return evonorm_b0(input, *parameters, self.running_var, self.training, self.momentum, self.eps)

    def _variance_over_ranks(self, input: Tensor) -> Tensor:
        _, variance, count = moments_over_ranks(input)
        if count == 1:
            raise ValueError(
                "EvoNorm2dB0: the batch's variance needs more than one value a channel in training, over all ranks; "
                f"got an input of shape {tuple(input.shape)}"
            )
        move_variance(self.running_var, variance, count, self.momentum)
        return variance

    def extra_repr(self) -> str:
        """The options."""
        options = {"apply_act": self.apply_act, "momentum": self.momentum, "eps": self.eps, "sync": self.sync}
        return ", ".join([str(self.num_features), *(f"{name}={value}" for name, value in options.items())])
