"""Losses: targets and probabilities, as functions of tensors."""

from normkit.losses.normalized_logistic import NormalizedLogisticLoss

__all__ = ["NormalizedLogisticLoss"]
