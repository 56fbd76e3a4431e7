"""The comparison that runs with nothing given: a small plain net on digits, with few samples a step."""

from torch import Tensor, nn

from normkit import data
from normkit.models import PlainConvNet

__all__ = ["BATCH_SIZE", "METHODS", "STEPS", "build_model", "digits"]

BATCH_SIZE = 4
"""Small enough for BatchNorm's noise to show, large enough for it to train."""

STEPS = 400
"""1,600 images: more than one pass over the training set, and all runs within two minutes on two cores."""

METHODS = ("baseline", "group-norm", "weight-standardization+batch-channel-norm", "evonorm-s0")


def build_model() -> nn.Module:
    """A plain BatchNorm net for (N, 1, 8, 8) images: 16 channels, five convolutions."""
    return PlainConvNet(depth=4, pool_after=2)


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The embedded digits in −1…1: 1,297 for training, 500 for judging."""
    return data.digits()
