"""Which parameters of a network are the affine ones of its normalisers: γ, β, and what else they hold for a channel.

    y = γ · normalised(x) + β

Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm", arXiv:2003.00152, section 2 (BatchNorm there;
every normaliser here).
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from normkit.weights.gain import gains_of, has_gain, is_own, shifts_of

__all__ = ["affine_normalizers", "affine_parameters", "reinit_affine_"]

Module = TypeVar("Module", bound=nn.Module)

_TORCHS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_KINDS = ("uniform", "fixed", "oneone", "positivenegative")


def affine_normalizers(model: nn.Module, names: Sequence[str] | None = None) -> dict[str, nn.Module]:
    """Every normaliser with a gain or a shift of its own, by path: torch's, normkit's, or another library's.

    Of `normkit.nn` every layer counts that holds a gain or a shift for each channel, RNB too. A foreign class counts
    where its name says "norm" and it holds vectors only, as `LlamaRMSNorm` does; a `FrozenBatchNorm2d`, whose γ and β
    are buffers, counts as well. Shapes do not matter: what is one vector counts.

    Args:
        model: any network.
        names: glob patterns over whole paths (`"layer4.*"`); None takes all.

    Raises:
        ValueError: there is none, or `names` picks none; says what there is.
    """
    found = {path: module for path, module in model.named_modules() if _is_affine(module)}
    if not found:
        plain = sorted({type(m).__name__ for m in model.modules() if "norm" in type(m).__name__.lower()})
        there = f"{', '.join(plain)} have no gain or shift" if plain else f"it has {_classes(model)}"
        raise ValueError(f"{type(model).__name__} has no normaliser with affine parameters: {there}")
    chosen = {
        path: module
        for path, module in found.items()
        if names is None or any(fnmatchcase(path, pattern) for pattern in names)
    }
    if not chosen:
        raise ValueError(
            f"{list(names or ())} names no normaliser (a pattern is matched with whole paths): there are {_few(found)}"
        )
    return chosen


def affine_parameters(model: nn.Module, names: Sequence[str] | None = None) -> dict[str, nn.Parameter]:
    """γ and β of every normaliser (and what else it learns for each channel, such as EvoNorm's v), by name.

    They are the parameters themselves, of the shapes that the normalisers keep, mostly (channels,).

    Raises:
        ValueError: as `affine_normalizers`.
    """
    return {
        f"{path}.{name}".lstrip("."): parameter
        for path, module in affine_normalizers(model, names).items()
        for name, parameter in module.named_parameters(recurse=False)
    }


@torch.no_grad()
def reinit_affine_(model: Module, kind: str = "uniform", generator: torch.Generator | None = None) -> Module:
    """Set γ and β of every normaliser anew, in place; returns the model.

    | kind | γ | β |
    |---|---|---|
    | `"uniform"` | U[0, 1] | 0 |
    | `"fixed"` | 1 | 0 |
    | `"oneone"` | 1 | 1 |
    | `"positivenegative"` | U[−1, 1] | 0 |

    Shapes stay. Draws come from `generator` (torch's default one where None), on the CPU and in float32, so that they
    are the same on every device. Source: Frankle et al. 2021, arXiv:2003.00152, section 3 and appendix on
    initialisation.

    Raises:
        ValueError: another kind, or no normaliser with affine parameters.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(_KINDS)}")
    for normalizer in affine_normalizers(model).values():
        for gain in gains_of(normalizer):
            gain.stored.copy_(_drawn(kind, gain.stored, generator) - gain.offset)
        for shift in shifts_of(normalizer):
            shift.fill_(1.0 if kind == "oneone" else 0.0)
    return model


def _drawn(kind: str, gain: Tensor, generator: torch.Generator | None) -> Tensor:
    if kind in ("fixed", "oneone"):
        return torch.ones_like(gain)
    uniform = torch.rand(gain.shape, generator=generator)
    return (uniform if kind == "uniform" else 2 * uniform - 1).to(gain)


def _is_affine(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    if isinstance(module, _TORCHS):
        return bool(own)
    name = type(module).__name__.lower()
    if "frozen" in name and "norm" in name:
        return has_gain(module)
    return ("norm" in name or is_own(module)) and bool(own) and all(_is_vector(parameter) for parameter in own)


def _is_vector(parameter: Tensor) -> bool:
    return sum(size > 1 for size in parameter.shape) <= 1


def _classes(model: nn.Module) -> str:
    return ", ".join(sorted({type(module).__name__ for module in model.modules() if not [*module.children()]}))


def _few(paths: dict[str, nn.Module]) -> str:
    shown = ", ".join(list(paths)[:5])
    return f"{shown} and {len(paths) - 5} more" if len(paths) > 5 else shown
