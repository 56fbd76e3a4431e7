"""Linear maps that a rule may change: whether they are free to, and what reads a tensor through what.

A scale a and a shift c of the last axis go into every linear map that reads it,
W (a x + c) + b = W diag(a) x + (b + W c).
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normkit.conversion._framework.rule import Refusal, Site
from normkit.surgery import Step, submodule, ties

__all__ = ["fold_into_reader", "plain_map", "readers", "set_bias"]

_LINEAR = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear)
_INPUTS = ("query", "key", "value")
_PASSING = (nn.Dropout, nn.Identity)
"""In evaluation they hand on what they read."""


def plain_map(site: Site, step: Step, where: str, kinds: tuple[type[nn.Module], ...]) -> str:
    """The path of the map that a step calls, if it is free to change.

    Raises:
        Refusal: it is none of `kinds`, is parametrised or tied, or runs several times.
    """
    if step.kind != "module":
        raise Refusal(f"{where} stands {step.name}, which is no module")
    module = submodule(site.model, step.path)
    inside = list(module.modules())
    if type(module) not in kinds and not parametrize.is_parametrized(module):
        raise Refusal(f"{where} stands {step.path}, a {type(module).__name__}, which cannot take it")
    if any(parametrize.is_parametrized(part) for part in inside):
        raise Refusal(f"{where} stands {step.path}, whose weight is parametrised: bake it first (normkit.weights.bake)")
    assert site.flow is not None
    if len(site.flow.calls(step.path)) != 1:
        raise Refusal(f"{step.path} {where} runs several times in a forward pass")
    if any(name.rpartition(".")[0] == step.path for names in ties(site.model) for name in names):
        raise Refusal(f"the weight of {step.path} {where} is tied to another")
    return step.path


def readers(site: Site, channels: int) -> list[list[Any]]:
    """Every linear map that reads the site's output, as [path, inputs]; inputs are those of an attention, else none.

    Reading through a mean over positions, a choice of positions or a dropout is reading: a scale and a shift of the
    channels pass these unchanged.

    Raises:
        Refusal: something else reads it as well (a residual sum, the network's output), or a map cannot be changed.
    """
    site.followers()  # refuses where the flow is not known
    assert site.flow is not None
    calls = site.flow.calls(site.path)
    if len(calls) > 1:
        raise Refusal("it runs several times in a forward pass")
    found = [_reader(site, step, source, channels) for step, source in _reading(site, calls[0])]
    if not found:
        raise Refusal("nothing reads its output")
    return found


def _reading(site: Site, source: Step) -> Iterable[tuple[Step, Step]]:
    """The steps that read `source`, directly or through what a scale and a shift pass; each with what it reads."""
    assert site.flow is not None
    for step in site.flow.steps:
        if source.index not in step.reads:
            continue
        if _passes(site, step, source):
            yield from _reading(site, step)
        else:
            yield step, source


def _passes(site: Site, step: Step, source: Step) -> bool:
    if step.kind == "module":
        return isinstance(submodule(site.model, step.path), _PASSING)
    if step.kind != "function" or step.reads != (source.index,) or len(source.shapes) != 1:
        return False
    last = len(source.shapes[0]) - 1
    if step.name in ("dropout", "contiguous", "clone"):
        return True
    if step.name in ("view", "reshape", "flatten"):  # row by row: a last axis of the same size is the same axis
        return [shape[-1:] for shape in step.shapes] == [source.shapes[0][-1:]]
    if step.name == "mean":
        dims = step.arguments.get(1, step.arguments.get("dim"))
        chosen = [dims] if isinstance(dims, int) else list(dims or ())
        return bool(chosen) and all(dim % (last + 1) != last for dim in chosen)
    return step.name in ("__getitem__", "getitem") and _keeps_last(step.arguments.get(1), last)


def _keeps_last(index: Any, last: int) -> bool:
    """Whether an index of whole numbers and slices leaves the last axis as it is."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(part is Ellipsis or (isinstance(part, (int, slice)) and not isinstance(part, bool)) for part in parts):
        return False
    if Ellipsis in parts:
        place = parts.index(Ellipsis)  # it stands for as many whole axes as the others leave, none among them
        parts[place : place + 1] = [slice(None)] * (last + 2 - len(parts))
    return len(parts) <= last or parts[last:] == [slice(None)]


def _reader(site: Site, step: Step, source: Step, channels: int) -> list[Any]:
    if step.kind == "output":
        raise Refusal("its output is returned by the network as well as read")
    if step.kind == "function":
        raise Refusal(f"its output is read by {step.name}, which is no linear map")
    module = submodule(site.model, step.path)
    if isinstance(module, nn.MultiheadAttention):
        path = plain_map(site, step, "behind it", (nn.MultiheadAttention,))
        inputs = [name for number, name in enumerate(_INPUTS) if source.index in _made(step, number, name)]
        if not inputs:
            raise Refusal(f"its output is read by {path}, but not as query, key or value")
        return [path, inputs]
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # GPT-2's linear layer, its weight (in, out)
        path = plain_map(site, step, "behind it", (type(module),))
        width = module.get_parameter("weight").shape[0]
    else:
        path = plain_map(site, step, "behind it", _LINEAR)
        width = module.get_parameter("weight").shape[1]
    if width != channels:
        raise Refusal(f"{path} behind it reads {width} entries where it has {channels} channels")
    return [path, []]


def _made(step: Step, number: int, name: str) -> set[int]:
    return {step.sources[key] for key in (number, name) if key in step.sources}


@torch.no_grad()
def fold_into_reader(
    target: Any, inputs: list[str], scale: Float[Tensor, " channels"], shift: Float[Tensor, " channels"]
) -> None:
    """Give a linear map (or the named input projections of an attention) the scale and shift of what it reads."""
    if isinstance(target, nn.MultiheadAttention):
        _fold_into_attention(target, inputs, scale, shift)
        return
    by_input = type(target).__name__ == "Conv1D"
    wide = target.weight.double().T if by_input else target.weight.double()
    set_bias(target, wide @ shift + (0.0 if target.bias is None else target.bias.double()))
    target.weight.copy_((wide * scale).T if by_input else wide * scale)


def _fold_into_attention(target: Any, inputs: list[str], scale: Tensor, shift: Tensor) -> None:
    width = target.embed_dim
    if target.in_proj_bias is None and bool(shift.any()):
        weight = target.out_proj.weight
        bias = nn.Parameter(weight.new_zeros(3 * width), weight.requires_grad)
        target.register_parameter("in_proj_bias", bias)
    for number, name in enumerate(_INPUTS):
        if name not in inputs:
            continue
        rows = slice(number * width, (number + 1) * width)
        packed = target.in_proj_weight
        weight = packed[rows] if packed is not None else target.get_parameter(f"{name[0]}_proj_weight")
        wide = weight.double()
        if target.in_proj_bias is not None:
            target.in_proj_bias[rows] = target.in_proj_bias[rows].double() + wide @ shift
        weight.copy_(wide * scale)


def set_bias(target: Any, value: Tensor) -> None:
    """Set the bias of a map, which gets one where it has none."""
    if isinstance(target.bias, nn.Parameter):
        target.bias.copy_(value)
    else:
        weight = target.weight
        target.register_parameter("bias", nn.Parameter(value.to(weight), weight.requires_grad))
