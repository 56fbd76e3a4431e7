"""Which transformer is it, and what is its stream made of: one function for each family, and one for all others.

The families are read by their class, whose forward is known; a subclass with a forward of its own is refused. Stacks of
blocks that no class here is about are read from their data flow.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from normkit.conversion._framework.rule import Refusal, Site
from normkit.conversion._streams.observed import is_bare, is_stacked, observed
from normkit.conversion._streams.stack import Map, Reader, Stack, check
from normkit.models import Transformer, TransformerEncoderLayer
from normkit.surgery import submodule

__all__ = ["is_transformer", "survey"]

_POST_LN = ("BertModel", "RobertaModel", "XLMRobertaModel", "DistilBertModel", "ElectraModel", "AlbertModel")


def is_transformer(site: Site) -> bool:
    """Whether the module is a transformer of a family known here (also one that will be refused, with its reason)."""
    if isinstance(site.module, nn.TransformerEncoderLayer):
        parent = submodule(site.model, site.path.rpartition(".")[0].rpartition(".")[0]) if site.path else None
        return not isinstance(parent, nn.TransformerEncoder)
    if _family(site.module) is not None:
        return True
    return is_bare(site.module) and not any(_family(each) for each in _around(site))


def _around(site: Site) -> list[nn.Module]:
    """The modules that the site stands in."""
    names = site.path.split(".") if site.path else []
    return [submodule(site.model, ".".join(names[:depth])) for depth in range(len(names))]


def survey(site: Site) -> Stack:
    """The stream of the transformer at a site.

    Raises:
        Refusal: it is Post-LN, has no final norm, or holds something that is not known; the reason says what.
    """
    if isinstance(site.module, nn.TransformerEncoderLayer):
        raise Refusal(
            "a single layer returns the stream itself, with its mean, and no norm behind it: convert the "
            "nn.TransformerEncoder(…, norm=nn.LayerNorm(d)) that holds it"
        )
    family = _family(site.module) or observed
    stack = family(site)
    check(stack, site)
    return stack


def _family(module: nn.Module) -> Callable[[Site], Stack] | None:
    kind = type(module)
    if isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder)):
        return _torch_stack
    if isinstance(module, Transformer):
        return _own_transformer
    if kind.__module__.startswith("transformers.") and kind.__name__ == "GPT2Model":
        return _gpt2
    if kind.__module__.startswith("transformers.") and kind.__name__ in _POST_LN:
        return _post_ln
    if is_stacked(module) and not any(_known(part) for part in module.modules() if part is not module):
        return observed
    return None


def _known(module: nn.Module) -> bool:
    """Whether a module holds a stream of its own that one of the families here is about."""
    kinds = (nn.TransformerEncoder, nn.TransformerDecoder, Transformer)
    return isinstance(module, kinds) or type(module).__name__ in ("GPT2Model", *_POST_LN)


def _post_ln(site: Site) -> Stack:
    raise Refusal("it is Post-LN: each norm's output is the stream itself, so its mean is read and cannot be dropped")


def _same_forward(module: nn.Module, kind: type[nn.Module], path: str) -> None:
    if type(module).forward is not kind.forward or "forward" in vars(module):
        raise Refusal(f"{path or 'it'} is a {type(module).__name__} with a forward of its own, which is not known")


def _torch_stack(site: Site) -> Stack:
    module = site.module
    assert isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder))
    encoder = isinstance(module, nn.TransformerEncoder)
    _same_forward(module, nn.TransformerEncoder if encoder else nn.TransformerDecoder, site.path)
    layers = [(f"layers.{index}", layer) for index, layer in enumerate(module.layers)]
    for name, layer in layers:
        kind = nn.TransformerEncoderLayer if encoder else nn.TransformerDecoderLayer
        if not isinstance(layer, kind):
            raise Refusal(f"{site.inside(name)} is a {type(layer).__name__}, where a {kind.__name__} is wanted")
        _same_forward(layer, kind, site.inside(name))
        if not layer.norm_first:
            _post_ln(site)
    if not layers:
        raise Refusal("it has no layers")
    if module.norm is None:
        raise Refusal("it has no final norm (norm=None): it returns the stream itself, whose mean would be lost")
    parts = [_layer(name, layer) for name, layer in layers]
    return Stack(
        width=_width(layers[0][1].self_attn),
        entry="layers.0",
        readers=tuple(reader for readers, _, _ in parts for reader in readers),
        final="norm",
        writers=tuple(writer for _, writers, _ in parts for writer in writers),
        dropouts=tuple(dropout for _, _, dropouts in parts for dropout in dropouts),
        compressible="" if encoder else "a decoder's attention over the memory reads vectors that are not compressed",
    )


def _width(attention: nn.Module) -> int:
    return int(getattr(attention, "embed_dim"))  # noqa: B009 - torch's own or one that took its place


def _layer(name: str, layer: nn.Module) -> tuple[list[Reader], list[Map], list[str]]:
    """Readers, writers and branch dropouts of a Pre-LN encoder or decoder layer, torch's or ours."""
    attend = Map(f"{name}.self_attn", 1, "in_proj_weight", "in_proj_bias")
    readers = [Reader(f"{name}.norm1", (attend,))]
    writers = [Map(f"{name}.self_attn.out_proj", 0)]
    dropouts = [f"{name}.dropout1", f"{name}.dropout2"]
    last = "norm2"
    if isinstance(layer, nn.TransformerDecoderLayer):
        readers.append(Reader(f"{name}.norm2", ()))
        writers.append(Map(f"{name}.multihead_attn.out_proj", 0))
        dropouts.append(f"{name}.dropout3")
        last = "norm3"
    readers.append(Reader(f"{name}.{last}", (Map(f"{name}.linear1", 1),)))
    writers.append(Map(f"{name}.linear2", 0))
    return readers, writers, dropouts


def _own_transformer(site: Site) -> Stack:
    module = site.module
    assert isinstance(module, Transformer)
    _same_forward(module, Transformer, site.path)
    layers = [(f"layers.{index}", layer) for index, layer in enumerate(module.layers)]
    placements = {str(getattr(layer, "placement", type(layer).__name__)) for _, layer in layers}
    if placements != {"pre"}:
        raise Refusal(
            f"the norms are placed {', '.join(sorted(placements))}: only Pre-LN streams are read through norms alone"
        )
    for name, layer in layers:
        _same_forward(layer, TransformerEncoderLayer, site.inside(name))
    parts = [_layer(name, layer) for name, layer in layers]
    tables = [Map("embed", 1)] + ([Map("position", 1)] if module.position is not None else [])
    return Stack(
        width=module.embed.embedding_dim,
        entry="layers.0",
        readers=tuple(reader for readers, _, _ in parts for reader in readers),
        final="final_norm",
        writers=tuple(writer for _, writers, _ in parts for writer in writers),
        tables=() if module.embed_norm is not None else tuple(tables),
        dropouts=tuple(dropout for _, _, dropouts in parts for dropout in dropouts),
    )


def _gpt2(site: Site) -> Stack:
    module = site.module
    config: Any = module.config
    if getattr(config, "output_hidden_states", False):
        raise Refusal("config.output_hidden_states is set: the hidden states between the blocks are the stream itself")
    blocks = list(module.get_submodule("h").named_children())
    if not blocks:
        raise Refusal("it has no blocks")
    attentions = [name for number, block in blocks for name in _gpt2_attentions(f"h.{number}", block)]
    return Stack(
        width=int(config.hidden_size),
        entry="h.0",
        readers=tuple(reader for number, block in blocks for reader in _gpt2_readers(f"h.{number}", block)),
        final="ln_f",
        writers=tuple(Map(f"{name}.c_proj", 1) for name in [*attentions, *(f"h.{number}.mlp" for number, _ in blocks)]),
        tables=(Map("wte", 1), Map("wpe", 1)),
        dropouts=(
            "drop",
            *(f"{name}.resid_dropout" for name in attentions),
            *(f"h.{number}.mlp.dropout" for number, _ in blocks),
        ),
        embedded="inputs_embeds",
        exposed="hidden states between the blocks (output_hidden_states=True)",
    )


def _gpt2_attentions(name: str, block: nn.Module) -> Iterator[str]:
    yield f"{name}.attn"
    if hasattr(block, "crossattention"):
        yield f"{name}.crossattention"


def _gpt2_readers(name: str, block: nn.Module) -> Iterator[Reader]:
    yield Reader(f"{name}.ln_1", (Map(f"{name}.attn.c_attn", 0),))
    if hasattr(block, "crossattention"):
        yield Reader(f"{name}.ln_cross_attn", (Map(f"{name}.crossattention.q_attn", 0),))
    yield Reader(f"{name}.ln_2", (Map(f"{name}.mlp.c_fc", 0),))
