"""Batch normalisation by slowly moving estimates, for batches of one image or a few.

    μ̂ ← (1−r) μ̂ + r·mean(x),   σ̂² ← (1−r) σ̂² + r·mean((x − μ̂_old)²),   then   y = γ (x − μ̂)/sqrt(σ̂² + ε) + β

Source: Qiao et al. 2020, "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
arXiv:1903.10520, section 4.2.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.kernels.arguments import check_eps
from normkit.kernels.batch_channel_norm import estimate_norm, move_estimates
from normkit.nn._maps import check_maps
from normkit.nn._ranks import moments_of, moments_over_ranks
from normkit.nn._running import RunningStatistics, running_dtype

__all__ = ["EstBatchNorm1d", "EstBatchNorm2d", "EstBatchNorm3d", "set_estimate_speed"]


class EstBatchNorm2d(RunningStatistics):
    """y = γ (x − μ̂)/sqrt(σ̂² + ε) + β by estimates that each training batch first moves a little towards itself.

    To the gradient the estimates are constants. Evaluation moves nothing. They are kept in float32 or wider, and move
    once per call: activation checkpointing, which calls twice, moves them twice.

    Args:
        num_features: C, channels.
        speed: r, the share of a batch in the estimates; None follows the batch size, r = min(0.1, 0.02·B). May be set
            later (`layer.speed = r`, or `set_estimate_speed(model, r)` in a schedule).
        eps: ε, added to σ̂².
        debias: let the first 1/r batches count alike (cumulative average), and take the first one's deviations from its
            own mean, so that the estimates are near the data from the first step on.
        sync: average the batch's moments over all ranks of `torch.distributed` before they enter the estimates, and let
            a speed that follows the batch size follow that of all ranks together.
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) → the same.

    `state_dict`: `weight` (γ), `bias` (β), `running_mean` (μ̂), `running_var` (σ̂²), `num_batches_tracked`, and
    `estbn_moving_speed` (1,), the authors' name for r; 0 there means that none was set, and leaves the layer its own.

    Raises:
        ValueError: `speed` outside [0, 1] or `eps` < 0; in a training call, `speed` is 0 (the estimates would never
            move) or the input is not (B, C, H, W).
    """

    space: ClassVar[int] = 2
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    estbn_moving_speed: Tensor

    def __init__(
        self,
        num_features: int,
        speed: float | None = None,
        eps: float = 1e-5,
        *,
        debias: bool = False,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_eps(type(self).__name__, eps)
        self.num_features = num_features
        self.eps = eps
        self.debias = debias
        self.sync = sync
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype))
        wide = running_dtype(dtype)
        self.register_buffer("running_mean", torch.zeros(num_features, device=device, dtype=wide))
        self.register_buffer("running_var", torch.ones(num_features, device=device, dtype=wide))
        self.register_buffer("num_batches_tracked", torch.tensor(0, device=device))
        self.register_buffer("estbn_moving_speed", torch.zeros(1, device=device, dtype=wide))
        self.speed = speed

    @property
    def speed(self) -> float | None:
        """r as set, None where it follows the batch size."""
        return self._speed

    @speed.setter
    def speed(self, speed: float | None) -> None:
        if speed is not None and not 0 <= speed <= 1:
            raise ValueError(f"{type(self).__name__}: speed must lie in [0, 1], got {speed}")
        self._speed = speed
        self._by_batch_size = speed is None
        self._stands_still = speed == 0
        self.estbn_moving_speed.fill_(0.0 if speed is None else speed)

    def reset_running_stats(self) -> None:
        """μ̂ = 0, σ̂² = 1."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, μ̂ = 0, σ̂² = 1; the speed is the one that was set."""
        self.reset_running_stats()
        self.speed = self._speed  # the buffer holds nothing yet where the layer comes from the meta device
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """In training move the estimates; then normalise by them."""
        check_maps(type(self).__name__, input, self.num_features, self.space)
        if self.training:
            self._track(input)
        return estimate_norm(input, self.running_mean, self.running_var, self.weight, self.bias, self.eps)

    def share_of(self, batch: int) -> float | Tensor:
        """r for a training batch of so many samples: the speed that was set, or the one that follows the batch size.

        Raises:
            ValueError: it was set to 0.
        """
        if self._stands_still:
            raise ValueError(
                f"{type(self).__name__}: speed is 0, so the estimates would never move; set layer.speed to a value in "
                "(0, 1], or to None to follow the batch size"
            )
        return min(0.1, 0.02 * batch) if self._by_batch_size else self.estbn_moving_speed

    @torch.no_grad()
    def _track(self, input: Tensor) -> None:
        x = input.detach()  # `no_grad` alone leaves the derivatives that go forward
        mean, variance, count = moments_over_ranks(x) if self.sync else moments_of(x)
        speed = self.share_of(count // max(1, input.shape[2:].numel()))
        if count == 0:
            return
        old_mean = self.running_mean
        if self.debias:
            seen = self.num_batches_tracked.to(mean.dtype)
            speed = torch.clamp(1 / (seen + 1), min=speed)
            old_mean = torch.where(seen == 0, mean, old_mean)
        move_estimates(self.running_mean, self.running_var, mean, variance + (mean - old_mean) ** 2, speed)
        self.num_batches_tracked.add_(1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        loaded = state_dict.get(f"{prefix}estbn_moving_speed")
        if loaded is not None:
            self.speed = float(loaded) or self.speed

    def extra_repr(self) -> str:
        """The options."""
        return f"{self.num_features}, speed={self.speed}, eps={self.eps}, debias={self.debias}, sync={self.sync}"


class EstBatchNorm1d(EstBatchNorm2d):
    """Batch normalisation by moving estimates over sequences; arguments as `EstBatchNorm2d`. Shape: (B, C, L)."""

    space = 1


class EstBatchNorm3d(EstBatchNorm2d):
    """Batch normalisation by moving estimates over volumes; arguments as `EstBatchNorm2d`. Shape: (B, C, D, H, W)."""

    space = 3


def set_estimate_speed(model: nn.Module, speed: float | None) -> None:
    """Set `speed` (in [0, 1]; None: by the batch size) of every `EstBatchNorm1d`, `2d` or `3d` in `model`.

    One line of a training loop ties it to the learning rate: `set_estimate_speed(model, max(1e-3, r * lr / lr_max))`.
    The speed is one number for all channels; no shape changes.

    Raises:
        ValueError: `speed` outside [0, 1], or the model has no such layer.
    """
    layers = [module for module in model.modules() if isinstance(module, EstBatchNorm2d)]
    if not layers:
        raise ValueError(f"set_estimate_speed: {type(model).__name__} has no EstBatchNorm2d")
    for layer in layers:
        layer.speed = speed
