"""A sub-layer of a residual stream, and all of a network: what `residuals` finds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from normkit.surgery.flow import Step

__all__ = ["Residuals", "SubLayer"]


@dataclass(frozen=True)
class SubLayer:
    """One sum of a residual stream. Norms are given by the paths of their modules ("layer_norm" of a function).

    Attributes:
        block: path of the block that it belongs to: the last element of a list or Sequential around it.
        sum: index of the step that adds.
        stream: index of the step that gave the stream its values as it comes in: another sum, a norm, an embedding.
        branches: indices of the steps that wrote what is added (several where branches run side by side).
        kind: "attention" or "mlp"; "attention+mlp" where both stand side by side.
        into, out, after, inside: norms, by what they do.
        unclear: norms of what is added, behind which more than a shift was done to it (a gate, a choice, a function).
    """

    block: str
    sum: int
    stream: int
    branches: tuple[int, ...]
    kind: str
    into: tuple[str, ...] = ()
    out: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    @property
    def placement(self) -> str:
        """The name of this place of the norms: "pre", "post", "peri", "output"; "none", or two names where mixed.

        "unknown" where a norm stands at the branch's end but for something that may undo it.
        """
        within = {(True, False): "pre", (True, True): "peri", (False, True): "output", (False, False): ""}
        name = "unknown" if self.unclear else within[bool(self.into), bool(self.out)]
        return "+".join(part for part in (name, "post" if self.after else "") if part) or "none"


@dataclass(frozen=True)
class Residuals:
    """The sub-layers of a network in the order in which they run, and the norms at the ends of its streams.

    Attributes:
        layers: the sub-layers.
        starts: paths of the norms that a stream starts with.
        ends: paths of the norms that read a stream at its end.
        sources: for each step the one that gave its values, behind dropout, casts, views and scales.
    """

    layers: tuple[SubLayer, ...]
    starts: tuple[str, ...]
    ends: tuple[str, ...]
    sources: tuple[int, ...] = field(repr=False)

    def readers(self, steps: Sequence[Step], index: int) -> list[Step]:
        """The steps that read what the step `index` gave, also behind dropout, casts, views and scales."""
        return [
            step
            for step in steps
            if self.sources[step.index] == step.index and any(self.sources[read] == index for read in step.reads)
        ]

    def of(self, block: str) -> list[SubLayer]:
        """The sub-layers of one block."""
        return [layer for layer in self.layers if layer.block == block]

    @property
    def blocks(self) -> list[str]:
        """The blocks in the order in which they run."""
        return [*dict.fromkeys(layer.block for layer in self.layers)]
