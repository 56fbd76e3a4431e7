"""A residual stream as a list of names: its norms, the maps that read them, the maps that write it, its way in."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normkit.conversion._framework.rule import Refusal, Site
from normkit.surgery import submodule, ties

__all__ = ["Map", "Reader", "Scale", "Stack", "check"]


@dataclass(frozen=True)
class Map:
    """A linear map inside a stack, by the names of its parameters.

    Attributes:
        module: path of the module, within the site.
        axis: axis of the weight that belongs to the stream.
        weight, bias: names of its parameters.
    """

    module: str
    axis: int
    weight: str = "weight"
    bias: str = "bias"


@dataclass(frozen=True)
class Reader:
    """A norm over the stream and the maps that read its output."""

    norm: str
    maps: tuple[Map, ...]


@dataclass(frozen=True)
class Scale:
    """A factor per channel on what a writer gives, before it is added (layer scale).

    Attributes:
        module: path of the module, within the site.
        name: name of its parameter, of the stream's width.
        writer: the map whose output it scales.
    """

    module: str
    name: str
    writer: Map


@dataclass(frozen=True)
class Stack:
    """A Pre-LN residual stream; all paths are within the site.

    Attributes:
        width: d, the length of the stream's vectors.
        entry: the module whose first argument is the stream as it comes in.
        readers: the norms inside the stack.
        final: the norm at its end, whose output is what the site returns.
        writers: the maps whose output is added to the stream.
        tables: embeddings whose sum is the stream at the start; none where it comes from outside.
        dropouts: dropout modules that act on what is added.
        embedded: keyword under which the site takes embedded inputs in place of tokens, or `""`.
        exposed: what shows the stream itself when the site is asked for it, or `""`.
        scales: layer scales on what is added.
        compressible: why the stream cannot be carried in d − 1 entries, or `""`.
    """

    width: int
    entry: str
    readers: tuple[Reader, ...]
    final: str
    writers: tuple[Map, ...]
    tables: tuple[Map, ...] = ()
    dropouts: tuple[str, ...] = ()
    embedded: str = ""
    exposed: str = ""
    scales: tuple[Scale, ...] = ()
    compressible: str = field(default="", compare=False)

    @property
    def norms(self) -> list[str]:
        """All norms over the stream, the final one last."""
        return [*(reader.norm for reader in self.readers), self.final]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for the recipe."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Stack":
        """The inverse of `to_dict`."""
        maps = {name: tuple(Map(**entry) for entry in saved[name]) for name in ("writers", "tables")}
        readers = tuple(Reader(one["norm"], tuple(Map(**entry) for entry in one["maps"])) for one in saved["readers"])
        scales = tuple(Scale(one["module"], one["name"], Map(**one["writer"])) for one in saved.get("scales", ()))
        tuples = {"readers": readers, "dropouts": tuple(saved["dropouts"]), "scales": scales}
        return cls(**{**saved, **maps, **tuples})


_MAPS = {"Linear", "NonDynamicallyQuantizableLinear", "Conv1D", "Embedding", "MultiheadAttention"}


def check(stack: Stack, site: Site) -> None:
    """Refuse a stack with parts that cannot be rewritten; the reason names the part.

    Raises:
        Refusal: a norm is no LayerNorm over the width, a map is of an unknown or parametrised kind, shared with
            something outside the stack, used twice in it, or tied.
    """
    for norm in stack.norms:
        _check_norm(stack.width, site.inside(norm), submodule(site.module, norm))
    names = [entry.module for entry in [*_reading(stack), *stack.writers]]
    for name in dict.fromkeys([*names, *(table.module for table in stack.tables), *stack.norms]):
        _check_owned(site, name)
    modules = [id(submodule(site.module, name)) for name in dict.fromkeys(names)]
    if len(set(modules)) < len(modules):
        raise Refusal("layers of the stack share modules, so that one weight would have to take two values")
    _check_ties(stack, site)


def _reading(stack: Stack) -> Iterator[Map]:
    for reader in stack.readers:
        yield from reader.maps


def _check_norm(width: int, path: str, norm: nn.Module) -> None:
    if isinstance(norm, nn.RMSNorm) or type(norm).__name__ in ("CRMSNorm", "ExpandedCRMSNorm"):
        raise Refusal(f"{path} is a {type(norm).__name__} already: there is no mean left to take out")
    if not isinstance(norm, nn.LayerNorm) or norm.normalized_shape != (width,):
        raise Refusal(f"{path} is {norm}, where a LayerNorm over the stream's width {width} is wanted")


def _check_owned(site: Site, name: str) -> None:
    module, path = submodule(site.module, name), site.inside(name)
    if parametrize.is_parametrized(module):
        raise Refusal(f"{path} has a parametrised weight: bake it first (normkit.weights.bake)")
    kind = type(module).__name__
    if kind not in _MAPS and not isinstance(module, nn.LayerNorm):
        raise Refusal(f"{path} is a {kind}, which is not known to be a plain linear map")
    if isinstance(module, nn.MultiheadAttention):
        _check_attention(path, module)
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        raise Refusal(f"{path} renormalises its rows as they are read (max_norm), which undoes any recentring")
    outside = site.shared_outside(module)
    if outside:
        raise Refusal(f"{path} is shared with {outside}, which is not part of this stack")


def _check_attention(path: str, attention: nn.MultiheadAttention) -> None:
    plain = attention.in_proj_weight is not None and attention.bias_k is None and not attention.add_zero_attn
    if not plain:
        raise Refusal(f"{path} has keys or values of its own (kdim, vdim, add_bias_kv or add_zero_attn)")


def _check_ties(stack: Stack, site: Site) -> None:
    own = {f"{site.inside(entry.module)}.{entry.weight}" for entry in [*_reading(stack), *stack.writers]}
    for names in ties(site.model):
        if own & set(names):
            raise Refusal(f"the weights {' and '.join(names)} are tied, and only one of them may change")


def parameter(site: Site, entry: Map, name: str) -> nn.Parameter | None:
    """The weight or bias of a map."""
    module = submodule(site.module, entry.module)
    found = getattr(module, name, None)
    return found if isinstance(found, nn.Parameter) else None


@torch.no_grad()
def assign(module: nn.Module, name: str, value: Tensor, like: nn.Parameter | None) -> None:
    """Set a parameter: in place where the shape stays, else anew with the dtype and `requires_grad` of `like`."""
    old = getattr(module, name, None)
    if isinstance(old, nn.Parameter) and old.shape == value.shape:
        old.copy_(value)
        return
    like = old if isinstance(old, nn.Parameter) else like
    assert like is not None
    module.register_parameter(name, nn.Parameter(value.to(like).contiguous().clone(), like.requires_grad))
