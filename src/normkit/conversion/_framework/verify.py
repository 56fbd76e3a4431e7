"""Compare two networks on several inputs, and say where they differ."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normkit.conversion._framework.inputs import Trial, as_dtype, run
from normkit.conversion._framework.pairs import evaluating

__all__ = ["ConversionError", "Difference", "compare", "described", "outputs_of", "require_equal"]

LEAST_TRIALS = 3
"""An exact conversion is believed after so many different inputs."""


class ConversionError(ValueError):
    """A conversion that could not be done, or did not keep what it promised; the model is as it was.

    Attributes:
        skipped: what was not converted and why, as in `Conversion.skipped`.
    """

    def __init__(self, message: str, skipped: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.skipped = list(skipped)


@dataclass(frozen=True)
class Difference:
    """How far two networks are apart.

    Attributes:
        max_abs: largest absolute difference of any output entry, in the output's unit.
        max_rel: largest difference over the largest magnitude of the same output, without unit.
        trial: the input on which `max_rel` was found.
        trials: the inputs that both networks took.
    """

    max_abs: float
    max_rel: float
    trial: str
    trials: tuple[str, ...]


def compare(
    before: nn.Module, after: nn.Module, trials: Sequence[Trial], dtype: torch.dtype | None = None
) -> Difference:
    """Run both networks, in evaluation mode, on every trial that `before` takes, and compare all output tensors.

    Raises:
        ConversionError: `after` fails, or gives other shapes, where `before` does not; or `before` takes none.
    """
    worst, names, largest = ("", -1.0), [], 0.0
    failure: Exception | None = None
    for trial in trials:
        value = trial.value if dtype is None else as_dtype(trial.value, dtype)
        try:
            expected = outputs_of(before, value, dtype)
        except Exception as error:  # whatever a network raises on an input that it was not made for
            failure = failure or error
            continue
        try:
            got = outputs_of(after, value, dtype)
        except Exception as error:
            raise ConversionError(
                f"the converted model fails on an input ({trial.name}): {described(error)}"
            ) from error
        absolute, relative = _apart(expected, got, trial)
        if math.isnan(relative):
            continue
        names.append(trial.name)
        largest = max(largest, absolute)
        worst = max(worst, (trial.name, relative), key=lambda entry: entry[1])
    if not names and failure is not None:
        where = "" if dtype is None else f" in {dtype}, which verification needs"
        raise ConversionError(f"the model itself cannot be run{where}: {described(failure)}")
    if not names:
        raise ConversionError("no output of the model is finite on the inputs tried, so nothing can be compared")
    return Difference(largest, worst[1], worst[0], tuple(names))


def require_equal(slug: str, difference: Difference, tolerance: float) -> None:
    """Accept an exact conversion, or say by how much it fails.

    Raises:
        ConversionError: the difference is above the tolerance, or too few inputs were comparable.
    """
    if len(difference.trials) < LEAST_TRIALS:
        raise ConversionError(
            f"{slug}: the model takes only {len(difference.trials)} of the inputs made for verification "
            f"({', '.join(difference.trials)}), {LEAST_TRIALS} are wanted: pass another example="
        )
    if not difference.max_rel <= tolerance:
        raise ConversionError(
            f"{slug}: the converted model differs from the original by {difference.max_rel:.1e} (relative, float64, "
            f"on the input {difference.trial!r}) where {tolerance:.0e} is allowed; nothing was changed. Something "
            "outside the rule's knowledge reads or writes what it changed."
        )


def outputs_of(model: nn.Module, value: Any, dtype: torch.dtype | None = None) -> list[Tensor]:
    """Every floating tensor in the model's output, in evaluation mode and without gradients.

    Tensors that `forward` makes itself (`torch.zeros(...)` for a first hidden state) are of `dtype`, where it is given.
    """
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype or default)
    try:
        with torch.no_grad(), evaluating(model), torch.random.fork_rng(devices=[]):
            return list(_floating(run(model, value)))
    finally:
        torch.set_default_dtype(default)


def _floating(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _floating(item)


def _apart(expected: list[Tensor], got: list[Tensor], trial: Trial) -> tuple[float, float]:
    """Largest absolute and relative difference; NaN where no expected entry is finite."""
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in got]:
        shapes = [[tuple(tensor.shape) for tensor in side] for side in (expected, got)]
        raise ConversionError(f"the converted model gives {shapes[1]} where the model gives {shapes[0]} ({trial.name})")
    absolute = relative = math.nan
    for one, other in zip(expected, got, strict=True):
        one, other = one.double(), other.double()
        finite = one.isfinite()
        if not finite.any():
            continue
        far = (one - other)[finite].abs().max().item() if torch.equal(finite, other.isfinite()) else math.inf
        size = one[finite].abs().max().item()
        absolute = far if math.isnan(absolute) else max(absolute, far)
        share = far / size if size else (0.0 if far == 0 else math.inf)
        relative = share if math.isnan(relative) else max(relative, share)
    return absolute, relative


def described(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
