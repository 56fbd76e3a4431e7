"""The inputs on which a conversion is fitted and verified: those given, and variants made of them."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from normkit import training
from normkit.surgery import call

__all__ = ["Trial", "as_dtype", "batches_of", "run", "variants"]

MAX_BATCHES = 8
"""So many batches of `data` are looked at, as in `diagnose`."""

_KEYS = frozenset({"attention_mask"})  # 1 where a token is read
_PADDING = frozenset({"src_key_padding_mask", "key_padding_mask", "padding_mask"})  # True where it is not
_SQUARE = frozenset({"mask", "src_mask", "attn_mask"})  # True where a pair is not


@dataclass(frozen=True)
class Trial:
    """An input and what is special about it."""

    name: str
    value: Any


def run(model: nn.Module, value: Any) -> Any:
    """The output of `model` for an example or a batch's inputs."""
    return call(model, value) if isinstance(value, tuple) else training.call(model, value)


def batches_of(data: Any, model: nn.Module) -> list[Any]:
    """The inputs of the first batches of `data` on the model's device; a single tensor is one batch.

    Raises:
        ValueError: `data` yields nothing.
        TypeError: `data` cannot be iterated over.
    """
    if data is None:
        return []
    if not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
        raise TypeError(f"data must be batches, such as a DataLoader or a list of tensors, got {type(data).__name__}")
    source: Iterable[Any] = [data] if isinstance(data, (Tensor, Mapping)) else data
    found = [_to_model(training.inputs_of(batch), model) for batch in islice(iter(source), MAX_BATCHES)]
    if not found:
        raise ValueError("data yields no batches: pass at least one batch of inputs")
    return found


def example_of(example: Any, model: nn.Module) -> Any:
    """An example on the model's device, a list taken as a tuple."""
    return _to_model(tuple(example) if isinstance(example, list) else example, model)


def variants(example: Any, model: nn.Module, seed: int) -> list[Trial]:
    """`example` and what is made of it: fresh values in a larger batch, another length, a mask, a hundredfold scale.

    Which of them the model takes is found by trying; here none is left out but those that make no sense.
    """
    generator = torch.Generator().manual_seed(seed)
    made = [
        Trial("as given", example),
        Trial("another batch", _each(example, lambda tensor: _another_batch(tensor, generator))),
        Trial("another length", _each(example, _shorter)),
    ]
    if any(tensor.is_floating_point() for tensor in _tensors(example)):
        made.append(Trial("inputs x 100", _each(example, lambda x: x * 100 if x.is_floating_point() else x)))
    else:
        made.append(Trial("other tokens", _each(example, lambda tensor: _fresh(tensor, generator))))
    return made + list(_masked(example, model))


def as_dtype(value: Any, dtype: torch.dtype) -> Any:
    """Every floating tensor inside `value` in `dtype`."""
    return _each(value, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def _to_model(value: Any, model: nn.Module) -> Any:
    device = next((tensor.device for tensor in [*model.parameters(), *model.buffers()]), torch.device("cpu"))
    return _each(value, lambda tensor: tensor.to(device))


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _each(item, change) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_each(item, change) for item in value)
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    found: list[Tensor] = []
    _each(value, lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return iter(found)


def _fresh(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Values of the same kind and spread, drawn anew."""
    if tensor.is_floating_point():
        spread = tensor.float().std().item() if tensor.numel() > 1 else 1.0
        noise = torch.randn(tensor.shape, generator=generator) * (spread or 1.0)
        return noise.to(tensor) + tensor.mean()
    if tensor.dtype == torch.bool or tensor.numel() == 0:
        return tensor
    drawn = torch.randint(int(tensor.min()), int(tensor.max()) + 1, tensor.shape, generator=generator)
    return drawn.to(tensor)


def _another_batch(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return torch.cat([tensor, _fresh(tensor, generator)]) if tensor.ndim > 1 else tensor


def _shorter(tensor: Tensor) -> Tensor:
    """The sequence (ids or features) or the image, cut to about two thirds."""
    for axis in {2: (1,), 3: (1,), 4: (2, 3)}.get(tensor.ndim, ()):
        if tensor.ndim > 2 or not tensor.is_floating_point():
            tensor = tensor.narrow(axis, 0, max(1, 2 * tensor.shape[axis] // 3))
    return tensor


def _masked(example: Any, model: nn.Module) -> Iterator[Trial]:
    """The example with each kind of mask that the model's `forward` has an argument for."""
    names = list(inspect.signature(model.forward).parameters)
    named = dict(example) if isinstance(example, Mapping) else None
    if named is None:
        values = example if isinstance(example, tuple) else (example,)
        named = dict(zip(names, values, strict=False))
    first = next(iter(named.values()), None)
    if not isinstance(first, Tensor) or first.ndim < 2:
        return
    for name in names:
        if named.get(name) is None and name in _KEYS | _PADDING | _SQUARE:
            yield Trial(f"with {name}", {**named, name: _mask(name, first, model)})


def _mask(name: str, tensor: Tensor, model: nn.Module) -> Tensor:
    batch, length = (tensor.shape[0], tensor.shape[1]) if _batch_first(model) else (tensor.shape[1], tensor.shape[0])
    if name in _SQUARE:
        return torch.ones(length, length, dtype=torch.bool, device=tensor.device).triu(1)
    hidden = torch.zeros(batch, length, dtype=torch.bool, device=tensor.device)
    hidden[0, length - length // 3 :] = True
    return (~hidden).long() if name in _KEYS else hidden


def _batch_first(model: nn.Module) -> bool:
    attention = [module for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    return all(module.batch_first for module in attention)
