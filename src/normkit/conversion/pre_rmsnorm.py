"""Pre-LN to Pre-RMSNorm: the same function, without the means.

C = I − 11ᵀ/d. Writers of the stream: W_o ← C W_o, b_o ← C b_o; then every LayerNorm of it is an RMSNorm with the same
ε, weight and bias.

Source: Jiang et al. 2023, "Pre-RMSNorm and Pre-CRMSNorm Transformers", arXiv:2305.14858, section 3.1.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Rule, Site
from normkit.conversion._streams import Stack, is_transformer, recentre, survey
from normkit.conversion._streams.example import example

__all__ = ["PreRMSNorm"]

TRANSFORMERS = (
    "Pre-LN transformer (nn.TransformerEncoder or nn.TransformerDecoder with norm_first=True and a final norm, "
    "normkit.models.Transformer, Hugging Face GPT-2, or a list of blocks with LayerNorms and a LayerNorm behind it)"
)


@dataclass(frozen=True)
class PreRMSNorm(Rule):
    """Turn the LayerNorms of a Pre-LN transformer into RMSNorms, exactly.

    RMSNorms keep the names of the norms that they replace (`weight`, `bias`), so the original library's class loads the
    converted weights as well: with the means gone its LayerNorm computes the same.

    Args:
        tied: what becomes of an embedding table that is also the head's: `"untie"` gives the head the original table
            and the embedding a recentred one (V·d parameters more); `"recentre"` keeps one table and takes the mean out
            of the embedded input at run time.
        trainable: leave the writers' weights free and recentre them in every forward pass (a parametrisation), so that
            training goes on as that of the Pre-LN model would, step for step (without dropout on the branches). With
            False they are recentred once, which is for evaluation.

    Raises:
        ValueError: `tied` is neither.
        TypeError: `trainable` is no bool.
    """

    slug: ClassVar[str] = "pre-rmsnorm"
    why: ClassVar[str] = "a stream without mean needs no LayerNorm"
    about: ClassVar[str] = TRANSFORMERS

    tied: str = "untie"
    trainable: bool = False

    def __post_init__(self) -> None:
        if self.tied not in ("untie", "recentre"):
            raise ValueError(f'tied is "untie" or "recentre", got {self.tied!r}')
        if not isinstance(self.trainable, bool):
            raise TypeError(f"trainable is True or False, got {self.trainable!r}")

    @property
    def remark(self) -> str:
        """What training from here is."""
        if self.trainable:
            return (
                "exact in evaluation, and in training where no dropout acts on a branch and no table was untied; "
                "normkit.weights.bake(model) makes the weights plain ones, under the names that they had, to save them"
            )
        return (
            "exact in evaluation; the writers are free to write a mean again, so training that goes on from here is "
            "not that of the Pre-LN model: PreRMSNorm(trainable=True) is for that"
        )

    def matches(self, site: Site) -> bool:
        """A transformer of a family whose stream is known."""
        return is_transformer(site)

    def survey(self, site: Site) -> dict[str, Any]:
        """The stream's readers and writers."""
        return survey(site).to_dict()

    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The same transformer, recentred."""
        stack = Stack.from_dict(site.details)
        recentre(site, stack, self.tied, self.trainable)
        if stack.exposed:
            site.note(site.path, stack.exposed, "the same minus their mean", "the stream carries no mean any more")
        return site.module

    def example(self, model: nn.Module, seed: int) -> Any:
        """Random tokens or vectors of the width that the model states."""
        return example(model, seed)
