"""What is compared: the network as it is, or under a rule, several rules, or a function of the user's own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from torch import nn

from normkit.comparison.split import Split

__all__ = ["Method", "apply", "named"]

Method = Any
"""None or "baseline"; a rule's slug; a rule; a list of these, applied in order; or a function of a module that returns
the module to train. A slug stands for the rule's defaults, save that nothing is fitted to a network that was never
trained."""

_CALIBRATION = 4
"""Batches that a rule sees where it fits itself to data."""


def named(methods: Mapping[str, Method] | Sequence[Method]) -> dict[str, Method]:
    """Each method under a name: the user's own, else the slugs joined by "+" or the function's name.

    Raises:
        ValueError: none, or two of one name.
        TypeError: something that is no method.
    """
    if isinstance(methods, str):
        raise TypeError(f"methods is {methods!r}: give a list of methods, such as [{methods!r}]")
    pairs = list(methods.items()) if isinstance(methods, Mapping) else [(_name(each), each) for each in methods]
    if not pairs:
        raise ValueError("there is no method to compare: give at least one, such as None for the network as it is")
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two methods are called {twice[0]!r}: give a dict of names to methods")
    return dict(pairs)


def apply(method: Method, model: nn.Module, split: Split, *, batch_size: int, seed: int) -> nn.Module:
    """The network under `method`; `model` itself may be changed.

    Raises:
        TypeError: a function returned something else than a module.
        ConversionError: a rule cannot be applied to this network.
    """
    if method is None or method == "baseline":
        return model
    if callable(method) and not hasattr(method, "slug"):
        changed = method(model)
        if not isinstance(changed, nn.Module):
            raise TypeError(
                f"the method {_name(method)} returned a {type(changed).__name__}: it must return the module"
            )
        return changed
    from normkit.conversion import convert

    seen = list(islice(split.train(batch_size, seed), _CALIBRATION))
    return convert(model, _rules(method, fit=_has_been_trained(model)), data=seen, seed=seed).model


def _rules(method: Method, fit: bool) -> Any:
    """The rules of a method; one that is given by its slug fits itself to the network only with `fit`."""
    from normkit.conversion import Calibrated, rules

    if isinstance(method, (list, tuple)):
        return [_rules(each, fit) for each in method]
    kind = rules().get(method) if isinstance(method, str) else None
    if kind is None:
        return method
    return replace(kind(), fit=fit) if issubclass(kind, Calibrated) else kind()


def _has_been_trained(model: nn.Module) -> bool:
    """Whether running statistics were ever filled (or there are none, and nobody can tell).

    A new BatchNorm in eval mode passes its input unchanged, and activations shrink from layer to layer. A rule that
    fits itself to that function builds the shrinking into its gains, from which no training recovers.
    """
    counts = [buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")]
    return not counts or any(bool(count > 0) for count in counts)


def _name(method: Method) -> str:
    if method is None:
        return "baseline"
    if isinstance(method, str):
        return method
    if isinstance(method, (list, tuple)):
        return "+".join(_name(each) for each in method)
    for attribute in ("slug", "__name__"):
        if isinstance(name := getattr(method, attribute, None), str):
            return name
    raise TypeError(
        f"a method is a {type(method).__name__}: it must be None, a rule or its slug, a list of them, or a function"
    )
