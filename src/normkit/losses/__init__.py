"""Losses: targets and probabilities, as functions of tensors."""

from normkit.losses.distillation import distillation_loss, optimal_alpha
from normkit.losses.normalized_logistic import NormalizedLogisticLoss

__all__ = ["NormalizedLogisticLoss", "distillation_loss", "optimal_alpha"]
