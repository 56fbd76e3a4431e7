"""Where the norms of a transformer stand, a line a block: read from what flows where, for names lie.

`post_attention_layernorm` normalises the MLP's input in Llama and attention's output in Gemma 2 and OLMo 2; a
`final_layer_norm` stands in every block of OPT. What a norm is, is what it reads and who reads it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from normkit.surgery import SubLayer, residuals, trace

__all__ = ["BlockNorms", "NormDescription", "describe_norms"]


@dataclass(frozen=True)
class BlockNorms:
    """One block: its path and its sub-layers in the order in which they run, each with the paths of its norms."""

    path: str
    layers: tuple[SubLayer, ...]

    @property
    def placement(self) -> str:
        """The placement ("pre", "post", "peri", "output", "none", "unknown"); several where sub-layers differ."""
        return ", ".join(dict.fromkeys(layer.placement for layer in self.layers))

    def __str__(self) -> str:
        return f"{self.path}: {self.placement}: {'; '.join(_equation(layer, self.path) for layer in self.layers)}"


@dataclass(frozen=True)
class NormDescription:
    """All blocks of a network; iterates over them, prints a line for each and for the norms at the streams' ends.

    Attributes:
        blocks: in the order in which they run.
        embedding: paths of the norms that a stream starts with.
        final: paths of the norms that read a stream at its end.
    """

    blocks: tuple[BlockNorms, ...]
    embedding: tuple[str, ...]
    final: tuple[str, ...]

    @property
    def placement(self) -> str:
        """The placement of all blocks; several, joined by commas, if they differ."""
        return ", ".join(dict.fromkeys(block.placement for block in self.blocks))

    def __iter__(self) -> Iterator[BlockNorms]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __str__(self) -> str:
        start = [f"embedding norm: {', '.join(self.embedding)}"] if self.embedding else []
        end = [f"final norm: {', '.join(self.final)}"] if self.final else []
        return "\n".join([*start, *map(str, self.blocks), *end])


def describe_norms(model: nn.Module, example: Any) -> NormDescription:
    """Say where the norms of `model` stand, by running it once on `example` and following the data.

    A line of what is printed is the block's equation, x the stream:
    `layers.0: peri: x + norm1_out(attention(norm1(x))); x + norm2_out(mlp(norm2(x)))`.
    A sub-layer is a sum of the stream and of what was computed from it through a linear map, so blocks of any library
    are read: torch's, Hugging Face's, timm's, or your own. Norms inside a branch, as those of queries and keys, stand
    in brackets. A norm that is written out in plain operations counts (as "norm" where it is no module of its own).
    Where a branch ends in a norm with a gate or another function behind it, the placement is "unknown". The model runs
    in evaluation mode; its modes, weights and random state stay as they are.

    Args:
        model: any network.
        example: an input: a tensor, a tuple of positional arguments, or a mapping of keyword arguments.

    Raises:
        ValueError: no residual sum was seen; says what was looked for.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            found = residuals(model, trace(model, example))
    finally:
        for module, mode in modes:
            module.training = mode
    if not found.layers:
        raise ValueError(
            f"{type(model).__name__} has no residual stream: no sum x + M(x) was seen in which M holds a linear map "
            "and both sides have one shape"
        )
    blocks = tuple(BlockNorms(path, tuple(found.of(path))) for path in found.blocks)
    return NormDescription(blocks, found.starts, found.ends)


def _equation(layer: SubLayer, block: str) -> str:
    """The sub-layer as a formula, norms by their names within the block; `…` for what stands behind an unclear one."""

    def short(paths: tuple[str, ...]) -> list[str]:
        return [path.removeprefix(f"{block}.") for path in paths]

    read = ", ".join(f"{name}(x)" for name in short(layer.into)) or "x"
    branch = layer.kind + (f"[{', '.join(short(layer.inside))}]" if layer.inside else "") + f"({read})"
    if layer.out:
        branch = f"{' + '.join(short(layer.out))}({branch})"
    if layer.unclear:
        branch = f"…{' + '.join(short(layer.unclear))}({branch})"
    whole = f"x + {branch}"
    return f"{', '.join(short(layer.after))}({whole})" if layer.after else whole
