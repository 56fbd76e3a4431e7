"""PowerNorm: batch normalisation for text, by the running quadratic mean and with an approximate backward pass.

    u = x / sqrt(mean of x² over the position's group + ε),   y = γ u / sqrt(φ + ε) + β

Source: Shen, Yao, Gholami, Mahoney, Keutzer 2020, "PowerNorm: Rethinking Batch Normalization in Transformers",
arXiv:2003.07845, sections 3 and 4.
"""

import math
import warnings
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.power_norm import check_options, power_norm
from normkit.kernels.arguments import check_eps, check_float
from normkit.kernels.channels import check_groups
from normkit.kernels.dispatch import tracing
from normkit.nn._place import place_of
from normkit.nn._ranks import Ranks, summation_over_ranks
from normkit.nn._running import RunningStatistics, running_dtype

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["PowerNorm"]

_LOOK_EVERY = 64
"""Training calls between two looks at the statistics where a look is a synchronization."""


class PowerNorm(RunningStatistics):
    """y = γ u / sqrt(d + ε) + β with u the layer-scaled input and d its quadratic mean per channel, over all positions.

    In training d is the batch's mean of u² for the first `warmup_iters` steps, then the running one, φ, as the step
    before left it; evaluation uses φ. The gradient is the paper's approximation, which keeps a running value of its own
    (`ema_gz`) and moves it in the backward pass: `torch.autograd.gradcheck` fails by design. The variant "pn-v" always
    trains by the batch's quadratic mean and is differentiated exactly. The equations: `normkit.functional.power_norm`.

    Every training call is a step: gradient accumulation and activation checkpointing, which call more often, move φ
    more often; a second backward pass through one graph (`retain_graph`) moves `ema_gz` again. In a causal model the
    batch's statistics let a position see later ones in training: do not compare training losses with LayerNorm's.

    Args:
        num_features: C, channels.
        eps: ε, inside both roots.
        alpha_fwd: weight of the past in φ.
        alpha_bwd: weight of the past in the backward pass; nearer to 1 is steadier.
        warmup_iters: W, training steps by the batch's own quadratic mean. Choose about the warm-up of the learning
            rate: below a few hundred steps φ means little.
        group_num: G, groups of channels that are scaled together at each position (the authors take the number of
            heads). 0 leaves layer scale out, which is 11 % faster and **unsafe**: users report NaN after some thousand
            steps.
        variant: "pn" or "pn-v".
        backward_scale: "batch" or "running": which quadratic mean the backward pass divides by.
        affine: whether there are γ and β.
        device, dtype: of the parameters; the statistics are float32 or wider.
        channel_dim: the axis of the channels; 1 where the layer stands for a BatchNorm1d, (N, C, L).
        sync: take the batch's means over all ranks of `torch.distributed`, in both passes.
        process_group: take them over these ranks.

    Shape:
        (…, C) → the same. `pad_mask`: (…), True at positions that are padding and have no say in the statistic; it is
        not looked at in evaluation. The backward pass counts padded positions too, as the authors' does.

    `state_dict`: `weight` (γ), `bias` (β), `running_phi` (φ) and `ema_gz`, all (C,), and `iters`, 0-d; the authors'
    shapes (1, C, 1, 1) and (1,) are understood on loading.

    Raises:
        ValueError: G does not divide C (the message lists what does), an alpha is outside [0, 1), `variant` or
            `backward_scale` is unknown, `warmup_iters` or `eps` < 0; in the call, the input has not C channels, or the
            mask has another shape or leaves no position.
        TypeError: in the call, the input is no float tensor, or the mask is not boolean.
        FloatingPointError: in a training call, a running statistic is not finite; says in which layer. Looked at in
            every call on the CPU, in every 64th elsewhere (looking is a synchronization), never in compiled code.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_phi: Tensor
    ema_gz: Tensor
    iters: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        alpha_fwd: float = 0.9,
        alpha_bwd: float = 0.9,
        warmup_iters: int = 4000,
        group_num: int = 1,
        variant: str = "pn",
        backward_scale: str = "batch",
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        channel_dim: int = -1,
        sync: bool = False,
        process_group: "ProcessGroup | None" = None,
    ) -> None:
        super().__init__()
        check_eps("PowerNorm", eps)
        check_options("PowerNorm", variant, alpha_fwd, alpha_bwd, backward_scale)
        if group_num:
            check_groups("PowerNorm", num_features, group_num)
        if warmup_iters < 0:
            raise ValueError(f"PowerNorm: warmup_iters must be at least 0, got {warmup_iters}")
        self.num_features, self.group_num, self.eps = num_features, group_num, eps
        self.alpha_fwd, self.alpha_bwd, self.warmup_iters = alpha_fwd, alpha_bwd, warmup_iters
        self.variant, self.backward_scale, self.affine = variant, backward_scale, affine
        self.channel_dim, self.sync, self._ranks = channel_dim, sync, Ranks(process_group)
        self._calls = 0
        weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype)) if affine else None
        bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype)) if affine else None
        self.register_parameter("weight", weight)
        self.register_parameter("bias", bias)
        wide = running_dtype(dtype)
        self.register_buffer("running_phi", torch.ones(num_features, device=device, dtype=wide))
        self.register_buffer("ema_gz", torch.zeros(num_features, device=device, dtype=wide))
        self.register_buffer("iters", torch.tensor(0, device=device))

    @property
    def process_group(self) -> "ProcessGroup | None":
        """The ranks that share their statistics, as given."""
        return self._ranks.group

    def reset_running_stats(self) -> None:
        """φ = 1, ema_gz = 0, iters = 0."""
        self.running_phi.fill_(1)
        self.ema_gz.zero_()
        self.iters.zero_()

    def reset_parameters(self) -> None:
        """γ = 1, β = 0, and the running statistics as new."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(
        self, x: Shaped[Tensor, "*shape"], pad_mask: Shaped[Tensor, "..."] | None = None
    ) -> Float[Tensor, "*shape"]:
        """Normalise; in training move φ and `iters`, and `ema_gz` in the backward pass."""
        check_float("PowerNorm", x)
        if x.ndim < 1 or not -x.ndim <= self.channel_dim < x.ndim or x.shape[self.channel_dim] != self.num_features:
            raise ValueError(
                f"PowerNorm: made for {self.num_features} channels on axis {self.channel_dim}, got an input of shape "
                f"{tuple(x.shape)}"
            )
        x = x.movedim(self.channel_dim, -1)
        if self.training:
            self._check_training(x)
        y = power_norm(
            x,
            self.weight,
            self.bias,
            self.running_phi,
            self.ema_gz,
            self.iters,
            self.training,
            self.variant,
            self.alpha_fwd,
            self.alpha_bwd,
            self.warmup_iters,
            self.group_num,
            self.eps,
            self.backward_scale,
            pad_mask,
            summation_over_ranks(self.process_group) if self.sync or self.process_group is not None else None,
        )
        return y.movedim(-1, self.channel_dim)

    def scale_and_shift(self) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
        """a and c of the affine map y = a x + c of each channel that the layer is in evaluation, in float64.

        Raises:
            ValueError: `group_num` is not 0: layer scale depends on the input.
        """
        if self.group_num:
            raise ValueError(
                f"PowerNorm: with layer scale (group_num={self.group_num}) the output is no affine map of the input; "
                "only group_num=0 is"
            )
        scale = (self.running_phi.double() + self.eps).rsqrt()
        if self.weight is None or self.bias is None:
            return scale, torch.zeros_like(scale)
        return scale * self.weight.detach().double(), self.bias.detach().double()

    def _check_training(self, x: Tensor) -> None:
        if tracing() or x.is_meta:
            return
        if not self.group_num and x.shape[:-1].numel() == 1:
            warnings.warn(
                f"PowerNorm: one position (input {tuple(x.shape)}) without layer scale: its quadratic mean is itself, "
                "so that only signs are left while the batch's is used; take a larger batch, or group_num=1",
                stacklevel=3,
            )
        self._calls += 1
        if not self.running_phi.is_cpu and self._calls % _LOOK_EVERY:
            return
        if math.isfinite((self.running_phi.sum() + self.ema_gz.sum()).item()):  # no sum of finite ones is that large
            return
        broken = "ema_gz" if bool(self.running_phi.isfinite().all()) else "running_phi"
        raise FloatingPointError(
            f"PowerNorm {place_of(self) or '(in no model)'}: {broken} is not finite after {int(self.iters)} training "
            "steps, so the input or the gradient was not; lower the learning rate or clip gradients, raise alpha_bwd "
            "towards 1, keep layer scale on (group_num of at least 1), and load a checkpoint from before"
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("running_phi", "ema_gz", "iters"):
            loaded, own = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if isinstance(loaded, Tensor) and loaded.numel() == own.numel():
                state_dict[f"{prefix}{name}"] = loaded.reshape(own.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """The options."""
        names = ("eps", "alpha_fwd", "alpha_bwd", "warmup_iters", "group_num", "variant", "affine", "sync")
        return ", ".join([str(self.num_features), *(f"{name}={getattr(self, name)!r}" for name in names)])
