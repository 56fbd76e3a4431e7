"""Training: one loop on Lightning Fabric, schedules, evaluation, one reading of batches, self-distillation."""

from normkit.training.batch import Forward, call, inputs_of, output_tensor, targets_of, unwrapped
from normkit.training.distillation import DistillationLoss, estimate_alpha
from normkit.training.evaluate import accuracy, evaluating, mean_loss
from normkit.training.language_model import LanguageRun, batch_statistics_loss, fit_language_model
from normkit.training.loop import Callback, History, fit
from normkit.training.loss import Loss, cross_entropy
from normkit.training.parameters import parameter_groups
from normkit.training.schedule import Schedule, step_decay, warmup_constant, warmup_cosine
from normkit.training.self_distillation import DistilledRound, SelfDistillation, self_distill

__all__ = [
    "Callback",
    "DistillationLoss",
    "DistilledRound",
    "Forward",
    "History",
    "LanguageRun",
    "Loss",
    "Schedule",
    "SelfDistillation",
    "accuracy",
    "batch_statistics_loss",
    "call",
    "cross_entropy",
    "estimate_alpha",
    "evaluating",
    "fit",
    "fit_language_model",
    "inputs_of",
    "mean_loss",
    "output_tensor",
    "parameter_groups",
    "self_distill",
    "step_decay",
    "targets_of",
    "unwrapped",
    "warmup_constant",
    "warmup_cosine",
]
