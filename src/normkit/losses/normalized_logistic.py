"""The step of normalised logistic descent as a loss, for any network with one logit.

    L = −Σ_i w_i y_i g(x_i),   w_i = s_i / Σ_j s_j,   s_i = 1/(1 + e^{y_i g(x_i)}),   w held constant

Its gradient is that of the logistic loss divided by the mean of the sigmoid weights: as large with one sample left
wrong as with all of them. Source: Tyurin 2025, arXiv:2412.08424, section 6, for linear models; networks are its future
work.
"""

import math

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["NormalizedLogisticLoss"]


class NormalizedLogisticLoss(nn.Module):
    """L = −Σ_i w_i y_i g_i with w_i = s_i / Σ s held constant, s_i = 1/(1 + e^{y_i g_i}). Experimental for networks.

    The value says nothing of progress, and is no mean of losses: it is there for its gradient. Where
    `torch.distributed` runs, the weights are taken over the batches of all ranks (one of which may be empty), and each
    rank's part is multiplied by their number, so that gradients averaged over ranks, as DistributedDataParallel does,
    are those of the joint batch.

    Shape:
        logits: (batch,) or (batch, 1), any float dtype; computed in float32 or wider, also under autocast.
        targets: the shape of `logits`, or (batch,).
        Output: a number.

    Args:
        signed: whether the targets are −1 and 1; else 0 and 1.
        sync: whether the ranks' batches are one.
        process_group: the ranks; None for all.

    Raises:
        ValueError: logits of another shape, no sample on any rank, or targets with other values than those said.

    Source: Tyurin 2025, arXiv:2412.08424.
    """

    def __init__(
        self, signed: bool = False, *, sync: bool = True, process_group: "dist.ProcessGroup | None" = None
    ) -> None:
        super().__init__()
        self.signed, self.sync, self.process_group = signed, sync, process_group

    def forward(self, logits: Float[Tensor, "batch *one"], targets: Shaped[Tensor, "..."]) -> Float[Tensor, ""]:
        """The loss, for its gradient."""
        if logits.ndim == 0 or logits.numel() != len(logits) or targets.numel() != len(logits):
            raise ValueError(
                "logits must be (batch,) or (batch, 1) with a target each, got "
                f"{tuple(logits.shape)} and {tuple(targets.shape)}"
            )
        if not len(logits) and self._ranks() == 1:
            raise ValueError("the loss of no sample has no weights: leave empty batches out")
        with torch.autocast(logits.device.type, enabled=False):
            g = logits.reshape(-1)
            g = g if g.dtype is torch.float64 else g.float()
            margins = self._signs(targets.reshape(-1)).to(g.dtype) * g
            with torch.no_grad():
                weights = self._weights(F.logsigmoid(-margins))
            return -self._ranks() * (weights * margins).sum()

    def _signs(self, targets: Tensor) -> Tensor:
        low = -1 if self.signed else 0
        if not torch.compiler.is_compiling() and not bool(((targets == low) | (targets == 1)).all()):
            other = targets[(targets != low) & (targets != 1)][0].item()
            raise ValueError(f"targets must be {low} and 1 (signed={self.signed}), got {other}")
        return targets if self.signed else 2 * targets.to(torch.int8) - 1

    def _ranks(self) -> int:
        if not (self.sync and dist.is_available() and dist.is_initialized()):
            return 1
        return dist.get_world_size(self.process_group)

    def _weights(self, logs: Tensor) -> Tensor:
        """s / Σ s over all ranks, of logarithms less the largest: every s itself may underflow."""
        largest = logs.max() if logs.numel() else logs.new_tensor(-math.inf)
        if self._ranks() > 1:
            dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.process_group)
        shares = (logs - largest).exp()
        total = shares.sum()
        if self._ranks() > 1:
            dist.all_reduce(total, group=self.process_group)
        return shares / total

    def extra_repr(self) -> str:
        """The options."""
        return f"signed={self.signed}, sync={self.sync}"
