"""Pre-LN to Pre-CRMSNorm: the same function on a stream with one entry less.

CRMS(z) = z / sqrt((Σ z² + (Σ z)²)/d + ε) with z the first d − 1 entries of a zero-mean stream.

Source: Jiang et al. 2023, "Pre-RMSNorm and Pre-CRMSNorm Transformers", arXiv:2305.14858, section 3.2.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.rule import Refusal, Rule, Site
from normkit.conversion._streams import Stack, compress, is_transformer, survey
from normkit.conversion._streams.example import example
from normkit.conversion.pre_rmsnorm import TRANSFORMERS

__all__ = ["PreCRMSNorm"]


@dataclass(frozen=True)
class PreCRMSNorm(Rule):
    """Turn the LayerNorms of a Pre-LN transformer into CRMSNorms over d − 1 entries, exactly.

    The stream is recentred and shortened where it starts, at run time, so embedding tables stay whole and tied; the
    final norm gives all d entries back. γ and β of the norms inside go into the weights that read them. A width of
    d − 1 may be slower than d on hardware that likes round numbers: look at the time ratio.
    """

    slug: ClassVar[str] = "pre-crmsnorm"
    why: ClassVar[str] = "of a stream without mean one entry follows from the others"
    about: ClassVar[str] = TRANSFORMERS

    @property
    def remark(self) -> str:
        """What training from here is."""
        return (
            "exact in evaluation; gradients are those of d − 1 entries, so training that goes on from here is not that "
            "of the Pre-LN model"
        )

    def matches(self, site: Site) -> bool:
        """A transformer of a family whose stream is known."""
        return is_transformer(site)

    def survey(self, site: Site) -> dict[str, Any]:
        """The stream's readers and writers."""
        stack = survey(site)
        if stack.compressible:
            raise Refusal(stack.compressible)
        if stack.width < 2:
            raise Refusal(f"a stream of {stack.width} entries cannot be shortened")
        return stack.to_dict()

    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The same transformer on d − 1 entries."""
        stack = Stack.from_dict(site.details)
        compress(site, stack)
        if stack.exposed:
            site.note(
                site.path, stack.exposed, "d − 1 entries of the same minus their mean", "one entry is not carried"
            )
        return site.module

    def example(self, model: nn.Module, seed: int) -> Any:
        """Random tokens or vectors of the width that the model states."""
        return example(model, seed)
