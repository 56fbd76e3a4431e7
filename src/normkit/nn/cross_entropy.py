"""Cross-entropy as a layer: torch's, computed by `normkit.functional`.

    loss = (1 − ε) w_t (L − x_t) + ε/C Σ_j w_j (L − x_j),   L = log Σ_j e^(x_j)

Source: Dukhan and Ablavatski 2020, arXiv:2001.04438.
"""

import torch
from jaxtyping import Shaped
from torch import Tensor

from normkit.functional.cross_entropy import cross_entropy

__all__ = ["CrossEntropyLoss"]


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """−log softmax(input)_target: `torch.nn.CrossEntropyLoss` without the log-probabilities in memory.

    Args:
        as torch's: weight, size_average, ignore_index, reduce, reduction, label_smoothing.

    Shape:
        input (classes), (batch, classes) or (batch, classes, d1, …); target without the axis of classes (indices) or
        with it (probabilities); the output is a number, or of the target's shape for `reduction="none"`.

    Raises:
        TypeError, IndexError, ValueError: in the call, as `normkit.functional.cross_entropy`.
    """

    def forward(self, input: Shaped[Tensor, "..."], target: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The loss, of the input's dtype."""
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
