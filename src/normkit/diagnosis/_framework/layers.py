"""Which modules are normalisers, and which stand in a row as blocks of one residual stream."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from normkit import nn as layers

__all__ = ["attends", "blocks", "channel_dim", "is_norm", "norms_last_dim"]

_KNOWN = (
    _NormBase,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    layers.CRMSNorm,
    layers.EvoNorm2dB0,  # the 1d and 3d layers are subclasses
    layers.EvoNorm2dB1,
    layers.EvoNorm2dB2,
    layers.EvoNorm2dS0,
    layers.EvoNorm2dS0a,
    layers.EvoNorm2dS1,
    layers.EvoNorm2dS2,
    layers.BatchChannelNorm2d,
    layers.EstBatchNorm2d,
    layers.PowerNorm,
    layers.UnifiedNorm,
    layers.RegionNorm2d,
)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normaliser: one of torch's or ours, or another library's by the name of its class.

    A foreign class counts where its name says "norm" and it holds vectors only, as `LlamaRMSNorm` does.
    """
    if isinstance(module, _KNOWN):
        return True
    named = "norm" in type(module).__name__.lower() and not any(True for _ in module.children())
    return named and all(parameter.ndim <= 1 for parameter in module.parameters())


def norms_last_dim(module: nn.Module) -> bool:
    """Whether the normaliser's channels are the last dimension (LayerNorm and its kin) and not the second."""
    if isinstance(module, layers.PowerNorm):
        return module.channel_dim == -1
    last = nn.LayerNorm | nn.RMSNorm | layers.CRMSNorm | layers.UnifiedNorm
    return isinstance(module, last) or not isinstance(module, _KNOWN)


def channel_dim(norm: nn.Module, x: Tensor) -> int:
    """The dimension of `x`, which `norm` made, that holds its channels."""
    return x.ndim - 1 if norms_last_dim(norm) or x.ndim < 3 else 1


def attends(module: nn.Module) -> bool:
    """Whether there is attention inside a module, told by the name of a class."""
    return any("attention" in type(part).__name__.lower() for part in module.modules())


def blocks(model: nn.Module) -> Iterator[list[nn.Module]]:
    """Rows of two or more modules of one class that hold a normaliser and a linear map: the layers of a transformer.

    Whether they stand on a residual stream is seen when they run: input and output then have the same shape. Inside a
    row nothing is searched further.
    """
    inside: set[nn.Module] = set()
    for module in model.modules():
        if module in inside:
            continue
        by_class: dict[type, list[nn.Module]] = {}
        for child in module.children():
            by_class.setdefault(type(child), []).append(child)
        for row in by_class.values():
            if len(row) > 1 and all(_is_block(child) for child in row):
                inside.update(part for child in row for part in child.modules())
                yield row


def _is_block(module: nn.Module) -> bool:
    parts = list(module.modules())
    matrices = any(parameter.ndim == 2 for part in parts for parameter in part.parameters(recurse=False))
    return matrices and any(is_norm(part) and norms_last_dim(part) for part in parts if part is not module)
