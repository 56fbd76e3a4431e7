"""Fit a new layer to what an old one did: statistics of its inputs, and least squares for its affine parameters.

All sums are taken in float64, so that E[x²] − E[x]² is good to eight digits for means up to 10⁴ standard deviations.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Refusal
from normkit.nn import BatchChannelNorm2d

__all__ = ["Regression", "fit_affine", "refit", "regress", "set_statistics"]


class Regression:
    """Least squares of targets on predictors, channel by channel, from running sums.

    Args:
        channels: number of channels C; inputs are (batch, C, …).
    """

    def __init__(self, channels: int) -> None:
        self.sums = torch.zeros(5, channels, dtype=torch.float64)  # of x, t, x², x·t, t²
        self.count = 0

    def add(self, x: Float[Tensor, "batch channels *rest"], t: Float[Tensor, "batch channels *rest"]) -> None:
        """Take in predictors and targets."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        x, t = x.double(), t.double()
        self.sums += torch.stack([part.sum(axes) for part in (x, t, x * x, x * t, t * t)]).cpu()
        self.count += x.numel() // x.shape[1]

    def grouped(self, groups: int) -> "Regression":
        """The same with neighbouring channels pooled."""
        pooled = Regression(groups)
        pooled.sums = self.sums.unflatten(1, (groups, -1)).sum(2)
        pooled.count = self.count * self.sums.shape[1] // groups
        return pooled

    def solve(self) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"], Float[Tensor, " channels"]]:
        """Slope, intercept and mean squared residual; the slope is 0 where the predictor does not vary."""
        if not self.count:
            raise Refusal("it was not reached on the data, so there is nothing to fit it to")
        x, t, xx, xt, tt = self.sums / self.count
        spread, together = xx - x * x, xt - x * t
        varies = spread > 1e-12 * (xx + 1e-300)
        slope = torch.where(varies, together / spread.where(varies, torch.ones_like(spread)), torch.zeros_like(spread))
        residual = (tt - t * t - slope * together).clamp_min(0)
        return slope, t - slope * x, residual


def regress(pairs: Iterable[tuple[Tensor, Tensor]], channels: int) -> Regression:
    """The regression over pairs of predictors and targets."""
    found = Regression(channels)
    for x, t in pairs:
        found.add(x, t)
    return found


@torch.no_grad()
def fit_affine(norm: nn.Module, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Set `weight` and `bias` (one a channel) so that the norm's output is nearest to the targets."""
    weight, bias = norm.weight, norm.bias
    if not isinstance(weight, nn.Parameter):
        return
    weight.fill_(1)
    if isinstance(bias, nn.Parameter):
        bias.zero_()
    slope, intercept, _ = regress(((_evaluated(norm, x), t) for x, t in pairs), weight.numel()).solve()
    weight.copy_(slope)
    if isinstance(bias, nn.Parameter):
        bias.copy_(intercept)


@torch.no_grad()
def fit_groups(norm: BatchChannelNorm2d, pairs: Pairs) -> None:
    """Set the channel part's scale and shift (one a group) so that the output is nearest to the targets."""
    norm.weight.fill_(1)
    norm.bias.zero_()
    found = regress(((_evaluated(norm, x), t) for x, t in pairs), norm.num_channels).grouped(norm.num_groups)
    slope, intercept, _ = found.solve()
    norm.weight.copy_(slope.view_as(norm.weight))
    norm.bias.copy_(intercept.view_as(norm.bias))


@torch.no_grad()
def set_statistics(norm: nn.Module, pairs: Pairs) -> None:
    """Set `running_mean` and `running_var` (unbiased) to those of the inputs."""
    mean, var = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
    if not isinstance(var, Tensor):
        return
    found = regress(((x, x) for x, _ in pairs), var.numel())
    if not found.count:
        raise Refusal("it was not reached on the data, so there is nothing to fit it to")
    first, second = found.sums[0] / found.count, found.sums[2] / found.count
    unbiased = found.count / max(found.count - 1, 1)
    var.copy_((second - first * first).clamp_min(0) * unbiased)
    if isinstance(mean, Tensor):
        mean.copy_(first)


def refit(norm: nn.Module, pairs: Pairs) -> None:
    """Fit a norm that stays where it is to inputs that have changed, so that it gives what it gave before.

    Raises:
        Refusal: its kind is not one whose parameters can be solved for, or it was not reached on the data.
    """
    if isinstance(norm, BatchChannelNorm2d):
        set_statistics(norm.bn, pairs)
        fit_groups(norm, pairs)
    elif isinstance(norm, (_BatchNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)):
        set_statistics(norm, pairs)
        fit_affine(norm, pairs)
    else:
        raise Refusal(f"the {type(norm).__name__} behind it cannot be solved for")


def _evaluated(norm: nn.Module, x: Tensor) -> Tensor:
    mode = norm.training
    try:
        return norm.eval()(x)
    finally:
        norm.train(mode)
