"""Unified normalisation: a normaliser for transformers that is a scale and a shift of each channel at inference.

    y = γ x / sqrt(σ² + ε) + β, σ² the geometric mean of the batch's mean of x² over the last M steps

Source: Yang et al. 2022, "Unified Normalization for Accelerating and Stabilizing Transformers", arXiv:2208.01313,
section 3.
"""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.unified_norm import check_momentum, unified_norm
from normkit.kernels.arguments import check_eps
from normkit.nn._ranks import Ranks, summation_over_ranks
from normkit.nn._running import RunningStatistics, running_dtype

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["UnifiedNorm", "reset_warmup"]


class UnifiedNorm(RunningStatistics):
    """y = γ x / sqrt(σ² + ε) + β by a smoothed statistic in training, by its moving average in evaluation.

    The equations of a training step, its approximate gradient (`gradcheck` fails by design; there is no second and no
    forward derivative) and the test for outliers stand in `normkit.functional.unified_norm`. In evaluation
    `convert(model, "fold")` takes the layer into the linear maps that read it.

    The state moves once per forward and once per backward pass: activation checkpointing, which runs forward twice,
    counts two steps, each micro-batch of an accumulated gradient is a step, and a second backward pass through the
    same graph moves `ema_gz` again. `state_dict` as the authors': `weight`, `bias`, `running_var`, `ema_gz`,
    `buffer_x2`, `buffer_gz`, `iters`, `skip_counter`; their checkpoints load. Statistics are kept in float32 or wider.

    Args:
        num_features: C, channels: the input's last axis.
        window_size: M, steps that are smoothed over; a pair gives forward and backward pass windows of their own.
        warmup_iters: steps without smoothing, about the optimiser's warm-up.
        outlier_filtration: keep batches whose statistic is an outlier out of both windows; the authors do so for
            pictures, not for language. Such a batch is normalised by its own statistic.
        eps: ε, added to σ².
        momentum: weight of the *old* value in the moving averages (in `torch.nn.BatchNorm` it is the new one's). 0.9
            is the authors'; in runs of a few hundred steps 0.5 follows the gradient better.
        sync: take the statistics of both passes over all ranks of `torch.distributed` (two small all-reduces a step).
        process_group: take them over these ranks.
        device, dtype: of the parameters.

    Shape:
        (*batch, C) → the same.

    Raises:
        ValueError: a window < 1, `warmup_iters` < 0, `momentum` outside (0, 1), `eps` < 0; in the call, the input's
            last axis is not C, or `pad_mask` does not fit or leaves no position.
        TypeError: in the call, the input is no float tensor or `pad_mask` not boolean.
    """

    running_var: Tensor
    ema_gz: Tensor
    buffer_x2: Tensor
    buffer_gz: Tensor
    iters: Tensor
    skip_counter: Tensor

    def __init__(
        self,
        num_features: int,
        window_size: int | tuple[int, int] = 4,
        warmup_iters: int = 4000,
        outlier_filtration: bool = False,
        eps: float = 1e-5,
        momentum: float = 0.9,
        *,
        sync: bool = False,
        process_group: "ProcessGroup | None" = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        forward, backward = (window_size, window_size) if isinstance(window_size, int) else window_size
        if min(forward, backward) < 1:
            raise ValueError(f"UnifiedNorm: window_size must be at least 1 step, got {window_size}")
        if warmup_iters < 0:
            raise ValueError(f"UnifiedNorm: warmup_iters must be at least 0, got {warmup_iters}")
        check_eps("UnifiedNorm", eps)
        check_momentum("UnifiedNorm", momentum)
        self.num_features = num_features
        self.window_size = (forward, backward)
        self.warmup_iters = warmup_iters
        self.outlier_filtration = outlier_filtration
        self.eps = eps
        self.momentum = momentum
        self.sync, self._ranks = sync, Ranks(process_group)
        self.weight = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        wide: dict[str, Any] = {"device": device, "dtype": running_dtype(dtype)}
        for name in ("running_var", "ema_gz"):
            self.register_buffer(name, torch.empty(num_features, **wide))
        self.register_buffer("buffer_x2", torch.empty(forward, num_features, **wide))
        self.register_buffer("buffer_gz", torch.empty(backward, num_features, **wide))
        for name in ("iters", "skip_counter"):
            self.register_buffer(name, torch.empty((), dtype=torch.int64, device=device))
        self.reset_parameters()

    @property
    def process_group(self) -> "ProcessGroup | None":
        """The ranks that share their statistics, as given."""
        return self._ranks.group

    def reset_running_stats(self) -> None:
        """running_var = 1, everything else of the state 0."""
        for buffer in self.buffers():
            buffer.zero_()
        self.running_var.fill_(1)

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, and the state as new."""
        self.reset_running_stats()
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(
        self, input: Shaped[Tensor, "*shape"], pad_mask: Shaped[Tensor, "..."] | None = None
    ) -> Float[Tensor, "*shape"]:
        """Normalise; in training, take the batch into the statistics, but for positions where `pad_mask` is True."""
        shared = self.sync or self.process_group is not None
        return unified_norm(
            input,
            self.weight,
            self.bias,
            self.running_var,
            self.ema_gz,
            self.buffer_x2,
            self.buffer_gz,
            self.iters,
            self.skip_counter,
            pad_mask,
            self.training and (shared or input.numel() > 0),  # an empty batch has no statistic to move to
            self.momentum,
            self.warmup_iters,
            self.outlier_filtration,
            self.eps,
            summation_over_ranks(self.process_group) if shared else None,
        )

    def scale_and_shift(self) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
        """What the layer is in evaluation: y = scale·x + shift for each channel, in float64.

        Raises:
            ValueError: it has no statistics yet.
        """
        if int(self.iters) == 0 and bool((self.running_var == 1).all()):
            raise ValueError("UnifiedNorm: it has no statistics yet: train it, or fit it on data, before it is folded")
        scale = self.weight.detach().double() * (self.running_var.double() + self.eps).rsqrt()
        return scale, self.bias.detach().double()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("iters", "skip_counter"):  # (1,) in the authors' checkpoints
            value = state_dict.get(f"{prefix}{name}")
            if isinstance(value, Tensor) and value.shape == (1,):
                state_dict[f"{prefix}{name}"] = value.squeeze(0)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """The options."""
        names = ("window_size", "warmup_iters", "outlier_filtration", "eps", "momentum", "sync")
        return ", ".join([str(self.num_features), *(f"{name}={getattr(self, name)}" for name in names)])


def reset_warmup(model: nn.Module) -> None:
    """Let every `UnifiedNorm` in `model` count its steps from 0 again: before fine-tuning, as the authors advise.

    The statistics stay, and no shape changes: only the counters `iters` do.

    Raises:
        ValueError: the model has no such layer.
    """
    layers = [module for module in model.modules() if isinstance(module, UnifiedNorm)]
    if not layers:
        raise ValueError(f"reset_warmup: {type(model).__name__} has no UnifiedNorm")
    for layer in layers:
        layer.iters.zero_()
