"""Losses: targets and probabilities, as functions of tensors."""

from normkit.losses.distillation import distillation_loss, optimal_alpha

__all__ = ["distillation_loss", "optimal_alpha"]
