"""Training: one loop on Lightning Fabric, schedules, evaluation, and one reading of batches and outputs."""

from normkit.training.batch import Forward, call, inputs_of, output_tensor, targets_of, unwrapped
from normkit.training.evaluate import accuracy, evaluating, mean_loss
from normkit.training.loop import Callback, History, fit
from normkit.training.loss import Loss, cross_entropy
from normkit.training.parameters import parameter_groups
from normkit.training.schedule import Schedule, step_decay, warmup_cosine

__all__ = [
    "Callback",
    "Forward",
    "History",
    "Loss",
    "Schedule",
    "accuracy",
    "call",
    "cross_entropy",
    "evaluating",
    "fit",
    "inputs_of",
    "mean_loss",
    "output_tensor",
    "parameter_groups",
    "step_decay",
    "targets_of",
    "unwrapped",
    "warmup_cosine",
]
