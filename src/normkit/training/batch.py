"""What a batch and an output are: one reading of tensors, tuples, dicts and Hugging Face objects for every room.

- A batch is a tensor (inputs alone), a tuple or list `(x,)` or `(x, y)`, or a mapping of names (Hugging Face batches
  too). In a mapping the targets are under one of `labels`, `label`, `targets`, `target`, `y`.
- An output is a tensor, or holds one: `logits`, `last_hidden_state`, the first of a tuple, the only one of a mapping.

What fits none of these is said at once, with the argument (`forward=`, `loss=`) that settles it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_fabric import is_wrapped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Forward", "call", "inputs_of", "output_tensor", "targets_of", "unwrapped"]

Forward = Callable[[nn.Module, Any], Any]
"""`forward(model, batch)` returns the model's output: how a user says how their model takes their batches."""

_TARGETS = ("labels", "label", "targets", "target", "y")
_OUTPUTS = ("logits", "last_hidden_state")


def call(model: nn.Module, batch: Any, forward: Forward | None = None) -> Any:
    """The output of `model` on `batch`; `forward(model, batch)` decides how, where it is given.

    Otherwise a tensor or the first of a pair goes in as the one argument, and a mapping by its names (those of the
    targets too where the model takes them, as Hugging Face models do to compute their loss).

    Raises:
        TypeError: it cannot be told from the batch how to call the model; says to pass `forward`.
    """
    if forward is not None:
        return forward(model, batch)
    inputs = inputs_of(batch)
    if not isinstance(inputs, Mapping):
        return model(inputs)
    return _call_by_name(model, {**inputs, **_target_items(batch)})


def inputs_of(batch: Any) -> Any:
    """The inputs of a batch: a tensor, or a mapping of names to tensors without the targets.

    Raises:
        TypeError: it is no tensor, no pair and no mapping; says what came and to pass `forward`.
    """
    if isinstance(batch, Tensor):
        return batch
    if isinstance(batch, Mapping):
        return {name: value for name, value in batch.items() if name not in _TARGETS}
    if isinstance(batch, Sequence) and not isinstance(batch, str) and 1 <= len(batch) <= 2:
        first = batch[0]
        if isinstance(first, (Tensor, Mapping)):
            return first
    raise TypeError(
        f"a batch is {_shape_of(batch)}: it must be a tensor, a pair (inputs, targets) or a dict of tensors; "
        "for others pass forward=lambda model, batch: … (and loss=lambda output, batch: …)"
    )


def targets_of(batch: Any) -> Tensor | None:
    """The targets of a batch: the second of a pair, or what a mapping holds as labels; None where there are none."""
    if isinstance(batch, Mapping):
        found = list(_target_items(batch).values())
    elif isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) == 2:
        found = [batch[1]]
    else:
        found = []
    return found[0] if found and isinstance(found[0], Tensor) else None


def output_tensor(output: Any) -> Tensor:
    """The tensor in a model's output: itself, its `logits`, its `last_hidden_state`, or the only one that it holds.

    Raises:
        TypeError: there is none, or it is not clear which; says what came and to pass `forward` or `loss`.
    """
    if isinstance(output, Tensor):
        return output
    for name in _OUTPUTS:
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(output, Sequence) and output and isinstance(output[0], Tensor):
        return output[0]
    tensors = [value for value in output.values() if isinstance(value, Tensor)] if isinstance(output, Mapping) else []
    if len(tensors) == 1:
        return tensors[0]
    raise TypeError(
        f"the model returned {_shape_of(output)}, in which no one tensor is the output: pass "
        "forward=lambda model, batch: model(…)[…] that returns a tensor (or loss=lambda output, batch: …)"
    )


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module inside the wrappers of Fabric and of distributed training."""
    while is_wrapped(model) or isinstance(model, DistributedDataParallel):
        inner = model.module
        assert isinstance(inner, nn.Module)
        model = inner
    return model


def _call_by_name(model: nn.Module, named: dict[str, Any]) -> Any:
    accepted = _parameters_of(unwrapped(model).forward)
    if accepted is None:
        return model(**named)
    taken = {name: value for name, value in named.items() if name in accepted}
    left = [name for name in named if name not in accepted and name not in _TARGETS]
    if not left:
        return model(**taken)
    if len(left) == 1 and all(name in _TARGETS for name in taken):
        return model(named[left[0]])  # one input under a name of the user's own: its place is clear
    raise TypeError(
        f"the batch holds {', '.join(left)}, and {type(unwrapped(model)).__name__}.forward takes "
        f"{', '.join(accepted) or 'nothing'}: pass forward=lambda model, batch: model(…)"
    )


def _parameters_of(function: Callable[..., Any]) -> list[str] | None:
    """The names that a function takes, or None where it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]


def _target_items(batch: Any) -> dict[str, Any]:
    if not isinstance(batch, Mapping):
        return {}
    return {name: batch[name] for name in _TARGETS if name in batch}


def _shape_of(value: Any) -> str:
    """What a value is, in the words of an error message."""
    name = type(value).__name__
    if isinstance(value, Mapping):
        return f"a {name} with {', '.join(map(repr, value)) or 'nothing in it'}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        kinds = ", ".join(type(each).__name__ for each in value[:4])
        return f"a {name} of {len(value)} ({kinds}{', …' if len(value) > 4 else ''})"
    return f"a {name}"
