"""Which parameters decay: weights of maps do, gains and biases do not."""

from typing import Any

from torch import nn

__all__ = ["parameter_groups"]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: matrices and kernels with `weight_decay`, vectors and scalars with none.

    Gains and biases (of normalisers and of maps) scale or shift one channel each and have at most one dimension that
    is longer than 1; decaying them pulls a normaliser's output to zero, which is no prior that anybody wants.
    Frozen parameters are left out, shared ones counted once.

    Raises:
        ValueError: the model has nothing to train, or `weight_decay` is negative.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay is {weight_decay}: it must not be negative")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter that requires a gradient: there is nothing to train")
    gains = {id(p) for module in model.modules() if _normalizes(module) for p in module.parameters(recurse=False)}
    decayed = [p for p in trained if _is_map(p.shape) and id(p) not in gains]
    kept = {id(p) for p in decayed}
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in kept], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _is_map(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 2 and sum(size > 1 for size in shape) >= 2


def _normalizes(module: nn.Module) -> bool:
    """Normalisers whose gain has the rank of a map, such as LayerNorm over two axes."""
    return isinstance(module, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase))
