"""The gains and shifts of a normaliser, under whatever names it keeps them, and the constant that some add to a gain.

    y = γ · normalised(x) + β,   γ = stored + c;   c is 0 mostly, and 1 in Gemma's RMSNorm and in RNB

Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm", arXiv:2003.00152, section 2.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from normkit.nn import RNB
from normkit.weights.gain_offset import offset_by_trial

__all__ = ["Gain", "gains_of", "has_gain", "is_own", "shifts_of"]

_GAINS, _SHIFTS = ("weight", "gamma", "scale"), ("bias", "beta", "shift")
_REGIONS = ("foreground", "background")


@dataclass(frozen=True)
class Gain:
    """A vector of gains.

    Attributes:
        name: of the tensor in its module.
        stored: that tensor, mostly (channels,).
        offset: c, the constant that the module adds to it.
        shift: β of the same channels where the module has one.
    """

    name: str
    stored: Tensor
    offset: float
    shift: Tensor | None

    @property
    def value(self) -> Tensor:
        """γ as it multiplies, of the shape of `stored`."""
        return self.stored + self.offset if self.offset else self.stored


def gains_of(normalizer: nn.Module) -> tuple[Gain, ...]:
    """Every gain of a normaliser, of the shapes that it keeps: one mostly, two of RNB (hole and rest), or none."""
    if isinstance(normalizer, RNB):
        names = [(f"{region}_gamma", f"{region}_beta") for region in _REGIONS]
        return tuple(Gain(gamma, getattr(normalizer, gamma), 1.0, getattr(normalizer, beta)) for gamma, beta in names)
    name, shift = _first(normalizer, _GAINS), _first(normalizer, _SHIFTS)
    if name is None:
        return ()
    beta = None if shift is None else getattr(normalizer, shift)
    return (Gain(name, getattr(normalizer, name), _offset(normalizer, name, shift), beta),)


def shifts_of(normalizer: nn.Module) -> tuple[Tensor, ...]:
    """Every β of a normaliser, of the shapes that it keeps."""
    if isinstance(normalizer, RNB):
        return tuple(getattr(normalizer, f"{region}_beta") for region in _REGIONS)
    name = _first(normalizer, _SHIFTS)
    return () if name is None else (getattr(normalizer, name),)


def has_gain(normalizer: nn.Module) -> bool:
    """Whether a normaliser keeps a gain, of any shape."""
    return isinstance(normalizer, RNB) or _first(normalizer, _GAINS) is not None


def is_own(normalizer: nn.Module) -> bool:
    """Whether a layer is one of `normkit.nn` or derived from one, whatever its shapes."""
    return any(kind.__module__.startswith("normkit.nn.") for kind in type(normalizer).__mro__)


def _offset(normalizer: nn.Module, gain: str, shift: str | None) -> float:
    """What our layers say of themselves, nothing in torch's, and of any other class what a trial shows."""
    said = float(getattr(normalizer, "offset", 0.0))
    home = type(normalizer).__module__
    if home.startswith(("normkit.nn.", "torch.nn.modules.")) or getattr(normalizer, gain).is_meta:
        return said
    found = offset_by_trial(normalizer, gain, shift)
    return said if found is None else found


def _first(module: nn.Module, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if isinstance(getattr(module, name, None), Tensor)), None)
