"""Pre-LN to Peri-LN: y = x + norm_out(M(norm(x))), a norm more at the end of each branch.

What is added to the stream then has the variance γ² whatever the weights, so Var(x_l) = Var(x_0) + Σ γ² grows linearly
with depth, and the gradient of a branch's last matrix no longer grows with the activations before it.

Source: Kim et al. 2025, "Peri-LN: Revisiting Normalization Layer in the Transformer Architecture", arXiv:2502.02732,
sections 3 and 4.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normkit.conversion._framework.inputs import run
from normkit.conversion._framework.pairs import Pairs, evaluating
from normkit.conversion._framework.rule import Kind, Rule, Site
from normkit.conversion._streams.branches import Branch, Branches, branches, is_block
from normkit.conversion._streams.example import example
from normkit.conversion._streams.output_norm import put_input_norm, put_output_norm
from normkit.nn import LayerNorm, RMSNorm
from normkit.surgery import close_fast_path, submodule

__all__ = ["PeriLN"]

EMBED_NORM = "embed_norm"


@dataclass(frozen=True)
class PeriLN(Rule):
    """Put a norm at the end of every branch of Pre-LN blocks, where the data flow says that they end.

    Each norm stands in its block as `norm1_out`, `norm2_out`, … in the order of the branches; dropout and layer scales
    act on its output. Blocks of `nn.TransformerEncoder(norm_first=True)`, GPT-2, ViT, Llama and timm are known by what
    flows where, so others are too. Keep the optimiser, the initial values and the rate; do not divide the branches'
    last matrices by √(2L), which the norms would undo.

    Args:
        norm: "layer" or "rms"; None takes each branch's own input norm as the pattern.
        embed_norm: put a norm on the stream as it enters the first block too (`embed_norm` of that block).
        init: "ones" starts with γ = 1, for training from scratch. "match" sets γ of each norm to the root mean square
            of what its branch wrote on the data: for a network that is trained already. That keeps the branches'
            scales but not its function: `max_rel_diff` says how far it went, and `normkit.diagnosis.treat` measures the
            loss before and after.

    Raises:
        ValueError: an unknown `norm` or `init`.
        TypeError: `embed_norm` is no bool.
    """

    slug: ClassVar[str] = "peri-ln"
    kind: ClassVar[Kind] = "fresh"
    why: ClassVar[str] = "what a branch adds to the stream has one scale, whatever its weights"
    about: ClassVar[str] = "transformer blocks (elements of a list, or the whole, that hold a norm and a matrix)"

    norm: str | None = None
    embed_norm: bool = False
    init: str = "ones"

    def __post_init__(self) -> None:
        """Options are checked where they are given."""
        if self.norm not in (None, "layer", "rms"):
            raise ValueError(f"norm is 'layer', 'rms' or None (as the branch's input norm), got {self.norm!r}")
        if self.init not in ("ones", "match"):
            raise ValueError(f"init is 'ones' or 'match', got {self.init!r}")
        if not isinstance(self.embed_norm, bool):
            raise TypeError(f"embed_norm is True or False, got {self.embed_norm!r}")

    @property
    def promise(self) -> Kind:
        """`"fresh"`, or `"calibrated"` with `init="match"`."""
        return "fresh" if self.init == "ones" else "calibrated"

    @property
    def remark(self) -> str:
        """What must be known before the network is trained or used."""
        if self.init == "ones":
            return (
                "for training from scratch, with everything else unchanged; no 1/√(2L) on the branches' last matrices"
            )
        return (
            "the scale of each branch was kept, not its function: compare the loss before and after, and train on; "
            "a trained network that must stay as it is should not be converted"
        )

    def matches(self, site: Site) -> bool:
        """What may be a block."""
        return is_block(site)

    def survey(self, site: Site) -> dict[str, Any]:
        """The block's branches and the modules that write them."""
        return branches(site).to_dict()

    def replacement(self, site: Site, pairs: Pairs | None) -> nn.Module:
        """The same block with its output norms."""
        found = Branches.from_dict(site.details)
        scales = _scales(site, found, pairs)
        for branch in found.branches:
            self._add(site, branch, scales.get(branch.writer))
        if self.embed_norm and found.starts:
            norm = self._norm(site, found.branches[0])
            put_input_norm(site.module, EMBED_NORM, norm)
            site.note(site.inside(EMBED_NORM), "nothing", norm, "the stream starts with variance 1")
        close_fast_path(site.module)
        return site.module

    def example(self, model: nn.Module, seed: int) -> Any:
        """Random tokens or vectors of the width that the model states."""
        return example(model, seed)

    @torch.no_grad()
    def _add(self, site: Site, branch: Branch, scale: "_Scale | None") -> None:
        norm = self._norm(site, branch)
        why = f"over what {branch.writer} writes to the stream"
        if scale is not None:
            gain = scale.deviation if isinstance(norm, nn.LayerNorm) else scale.rms
            norm.get_parameter("weight").fill_(gain)
            why += f"; γ is {gain:.4g}, its scale on the data"
        put_output_norm(site.module, submodule(site.module, branch.writer), branch.norm, norm)
        site.note(site.inside(branch.norm), "nothing", norm, why)

    def _norm(self, site: Site, branch: Branch) -> nn.Module:
        """A norm with γ = 1 as the rule's options say, else as the norm at the branch's input is."""
        like: Any = submodule(site.model, branch.like)
        writer = next(submodule(site.module, branch.writer).parameters())
        rms = isinstance(like, nn.RMSNorm) or "rms" in type(like).__name__.lower()
        eps = float(getattr(like, "eps", None) or getattr(like, "variance_epsilon", None) or 1e-5)
        where: dict[str, Any] = {"device": writer.device, "dtype": writer.dtype}
        if self.norm == "rms" or (self.norm is None and rms):
            return RMSNorm(branch.width, eps, **where)
        bias = rms or getattr(like, "bias", None) is not None
        return LayerNorm(branch.width, eps, bias=bias, **where)


@dataclass
class _Scale:
    """The scale of a branch over all tokens: with its mean over channels (`rms`), and without (`deviation`)."""

    squares: float = 0.0
    centred: float = 0.0
    count: int = 0

    def add(self, output: Tensor) -> None:
        x = output.detach().double()
        self.squares += float(x.square().mean(-1).sum())
        self.centred += float(x.var(-1, correction=0).sum())
        self.count += x[..., 0].numel()

    @property
    def rms(self) -> float:
        return float((self.squares / self.count) ** 0.5)

    @property
    def deviation(self) -> float:
        return float((self.centred / self.count) ** 0.5)


def _scales(site: Site, found: Branches, pairs: Pairs | None) -> dict[str, _Scale]:
    """What each branch wrote in the network as it was, by its writer; empty where nothing is to be matched."""
    if pairs is None:
        return {}
    model, handles = pairs.before.model, []
    scales: dict[str, _Scale] = {}
    for branch in found.branches:
        scale = scales.setdefault(branch.writer, _Scale())

        def after(module: nn.Module, args: Any, output: Any, scale: _Scale = scale) -> None:
            scale.add(output if isinstance(output, Tensor) else output[0])

        handles.append(submodule(model, site.inside(branch.writer)).register_forward_hook(after))
    try:
        with torch.no_grad(), evaluating(model):
            for batch in pairs.before.batches:
                run(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return scales
