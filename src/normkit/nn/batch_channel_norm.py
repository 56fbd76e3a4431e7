"""Batch-channel normalisation: by channel over the batch, then by channel group within each sample.

    y = w_g · GN( γ (x − μ)/sqrt(σ² + ε) + β ) + b_g

Source: Qiao et al. 2020, "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
arXiv:1903.10520, section 4.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normkit.functional.batch_channel_norm import batch_channel_norm
from normkit.kernels.arguments import check_eps
from normkit.kernels.batch_channel_norm import channel_norm
from normkit.kernels.channels import check_groups, per_channel
from normkit.kernels.reference._precision import statistics_dtype
from normkit.kernels.reference.evonorm import move_variance
from normkit.nn._maps import check_maps
from normkit.nn._ranks import moments_over_ranks
from normkit.nn.est_batch_norm import EstBatchNorm1d, EstBatchNorm2d, EstBatchNorm3d

__all__ = ["BatchChannelNorm1d", "BatchChannelNorm2d", "BatchChannelNorm3d"]

_ESTIMATES: dict[int, type[EstBatchNorm2d]] = {1: EstBatchNorm1d, 2: EstBatchNorm2d, 3: EstBatchNorm3d}
_BATCHES: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class BatchChannelNorm2d(nn.Module):
    """y = w_g · GN(bn(x)) + b_g with one scale and one shift a channel group.

    The inner normaliser `bn` is a module of its own: `EstBatchNorm2d`, whose statistics are slowly moving estimates
    (for less than 8 images a device), or `torch.nn.BatchNorm2d`, which `nn.SyncBatchNorm.convert_sync_batchnorm` may
    replace. `state_dict`: `weight` (1, G, 1), `bias` (1, G, 1), `bn.weight`, `bn.bias`, `bn.running_mean`,
    `bn.running_var`, `bn.num_batches_tracked`, and `bn.estbn_moving_speed` in the estimate style. The name `pbn`, which
    some published checkpoints give to `bn`, is understood on loading.

    Args:
        num_channels: C.
        num_groups: G, divides C; "auto" is the largest divisor up to 32 that leaves two channels or more to a group.
        eps: ε of both normalisers.
        style: "estimate" or "batch".
        speed: r of the estimate style, see `EstBatchNorm2d`.
        momentum: of the running statistics in the batch style.
        sync: take the batch's moments over all ranks of `torch.distributed` in training, in either style (an
            all-gather; in the batch style gradients pass through it).
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) → the same.

    Raises:
        ValueError: G does not divide C (the message lists what does), `style` is unknown, `speed` outside [0, 1],
            `eps` < 0; in the call, the input is not (B, C, H, W), or in training a group has a single value, or a
            channel in the batch style, or `speed` is 0.
    """

    space: ClassVar[int] = 2

    def __init__(
        self,
        num_channels: int,
        num_groups: int | str = 32,
        eps: float = 1e-5,
        style: str = "estimate",
        speed: float | None = None,
        momentum: float = 0.1,
        *,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_eps(name, eps)
        self.num_channels = num_channels
        self.num_groups = _groups_of(name, num_channels, num_groups)
        self.eps = eps
        self.style = style
        self.sync = sync
        self.weight = nn.Parameter(torch.ones(1, self.num_groups, 1, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(1, self.num_groups, 1, device=device, dtype=dtype))
        self.bn: nn.Module
        if style == "estimate":
            self.bn = _ESTIMATES[self.space](num_channels, speed, eps, sync=sync, device=device, dtype=dtype)
        elif style == "batch":
            self.bn = _BATCHES[self.space](num_channels, eps, momentum, device=device, dtype=dtype)
        else:
            raise ValueError(f"{name}: style is 'estimate' or 'batch', not {style!r}")

    def reset_parameters(self) -> None:
        """w = 1, b = 0, and the inner normaliser as new."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        self.bn.reset_parameters()  # type: ignore[operator]

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalise by channel, then by channel group."""
        check_maps(type(self).__name__, input, self.num_channels, self.space)
        if self.training and input.shape[1:].numel() == self.num_groups:
            raise ValueError(
                f"{type(self).__name__}: a group of one value has no variance (input {tuple(input.shape)}, "
                f"{self.num_groups} groups); use fewer groups or larger maps"
            )
        if self.sync and self.style == "batch" and self.bn.training and _is_plain(self.bn, self.eps):
            return channel_norm(self._over_ranks(input), self.num_groups, self.weight, self.bias, self.eps)
        if input.numel() == 0 or not _is_plain(self.bn, self.eps):
            return channel_norm(self.bn(input), self.num_groups, self.weight, self.bias, self.eps)
        bn: Any = self.bn
        speed: float | Tensor = 0.0
        if bn.training:
            speed = bn.momentum if self.style == "batch" else bn.share_of(input.shape[0])
        y = batch_channel_norm(
            input,
            bn.running_mean,
            bn.running_var,
            bn.weight,
            bn.bias,
            self.num_groups,
            self.weight,
            self.bias,
            bn.training,
            self.style,
            speed,
            self.eps,
        )
        if bn.training:
            bn.num_batches_tracked.add_(1)
        return y

    def _over_ranks(self, input: Tensor) -> Tensor:
        """The batch part by the moments of all ranks' batches."""
        bn: Any = self.bn
        mean, variance, count = moments_over_ranks(input)
        if count == 1:
            raise ValueError(
                f"{type(self).__name__}: the batch's variance needs more than one value a channel in training, over "
                f"all ranks; got an input of shape {tuple(input.shape)}"
            )
        if count:
            with torch.no_grad():
                bn.running_mean.lerp_(mean.detach().to(bn.running_mean.dtype), bn.momentum)
            move_variance(bn.running_var, variance, count, bn.momentum)
            bn.num_batches_tracked.add_(1)
        x = input.to(statistics_dtype(input.dtype))
        gain = bn.weight.to(x.dtype) * (variance + bn.eps).rsqrt()
        return ((x - per_channel(mean, x)) * per_channel(gain, x) + per_channel(bn.bias, x)).to(input.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in [name for name in state_dict if name.startswith(f"{prefix}pbn.")]:
            state_dict[f"{prefix}bn.{name.removeprefix(f'{prefix}pbn.')}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """The options."""
        return f"{self.num_channels}, num_groups={self.num_groups}, eps={self.eps}, style={self.style!r}"


class BatchChannelNorm1d(BatchChannelNorm2d):
    """Batch-channel normalisation of sequences; arguments as `BatchChannelNorm2d`. Shape: (B, C, L) → the same."""

    space = 1


class BatchChannelNorm3d(BatchChannelNorm2d):
    """Batch-channel normalisation of volumes; arguments as `BatchChannelNorm2d`. Shape: (B, C, D, H, W) → the same."""

    space = 3


def _is_plain(bn: nn.Module, eps: float) -> bool:
    """Whether calling `bn` does no more than the equation says, so that one operation can do both halves."""
    if bn._forward_hooks or bn._forward_pre_hooks or bn._backward_hooks or bn._backward_pre_hooks:
        return False
    if "forward" in bn.__dict__:
        return False
    if type(bn) in _ESTIMATES.values():
        assert isinstance(bn, EstBatchNorm2d)
        return bn.eps == eps and not (bn.training and (bn.sync or bn.debias))
    if type(bn) not in _BATCHES.values():
        return False
    assert isinstance(bn, _BatchNorm)
    if bn.momentum is None or bn.eps != eps:
        return False
    return bn.affine and bn.running_mean is not None and bn.running_var is not None


def _groups_of(layer: str, channels: int, groups: int | str) -> int:
    if isinstance(groups, int):
        check_groups(layer, channels, groups)
        return groups
    if groups != "auto":
        raise ValueError(f"{layer}: num_groups is a number or 'auto', not {groups!r}")
    fitting = (divisor for divisor in range(2, 33) if channels % divisor == 0 and channels >= 2 * divisor)
    return max(fitting, default=1)
