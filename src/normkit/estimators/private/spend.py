"""What a release has spent, and a budget that several releases of the same data cannot exceed."""

import math
import os
import secrets
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any, Never

from normkit.estimators._parameters import check_number, is_number

__all__ = ["PrivacyBudget", "PrivacyBudgetError", "PrivacySpend", "PrivacyWarning"]


class PrivacyWarning(UserWarning):
    """Something about the data may be read off the result although the noise is right.

    Given where labels are read from the data, and for the second release of clones of one estimator where no budget
    has counted the first.
    """


class PrivacyBudgetError(ValueError):
    """A release was asked for that the privacy budget does not allow; nothing was read or released."""


@dataclass(frozen=True)
class PrivacySpend:
    """What one release has spent.

    Attributes:
        mechanism: "laplace" or "gaussian", both on the integers.
        sensitivity: Δ of the whole released vector, L1 for Laplace and L2 for Gaussian, in the unit of its numbers.
        scale: of the noise on each number, same unit: Laplace's scale, Gaussian's σ.
        relation: what neighbours are, "add_remove" or "replace_one".
        epsilon, delta: the release is (ε, δ)-private.
        rho: ρ of zero-concentrated privacy, Δ²/2σ² (for Laplace ε²/2).
        source: of the randomness, "opendp", "fast", or "insecure" (a seed: then nothing is private).
        parts: how many releases of disjoint parts were added up (see `merge`). ε, δ and ρ are then the largest of the
            parts', as the Δ of each is; `scale` is √Σ scale², that of noise with the variance of the sum (which is the
            law itself for Gaussian noise, and not for Laplace's: a sum of those has shorter tails).
        releases: a random name of each part, by which copies, pickles and files of one release are known as one. Two
            spends are equal whatever their names.
    """

    mechanism: str
    sensitivity: float
    scale: float
    relation: str
    epsilon: float
    delta: float
    rho: float
    source: str
    parts: int = 1
    releases: tuple[str, ...] = field(default_factory=lambda: (secrets.token_hex(16),), compare=False, repr=False)

    @property
    def private(self) -> bool:
        """Whether the noise came from a secret source."""
        return self.source != "insecure"

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


class PrivacyBudget:
    """ε and δ that all releases from the same data share; a release beyond them is refused before it reads a row.

    Releases compose by addition: Σε ≤ `epsilon`, Σδ ≤ `delta`. Give the same object as `budget=` to each estimator.
    Clones of an estimator share it too, so cross-validation, searches and ensembles, which fit clones, are refused when
    it runs out. It cannot be copied into another process, where it would count anew: use n_jobs=1.

    Raises:
        ValueError: ε not above 0, or δ outside [0, 1).
        PrivacyBudgetError: from `charge`, and so from `fit`: what is left is less than what is asked for.
    """

    def __init__(self, epsilon: Any, delta: Any = 0.0) -> None:
        check_number("epsilon", epsilon, 0.0, "a finite number above 0")
        check_number("delta", delta, 0.0, "a number in [0, 1)", high=1.0, closed=True)
        self.epsilon, self.delta = float(epsilon), float(delta)
        self._spends: list[PrivacySpend] = []
        self._releases: set[str] = set()
        self._lock, self._process = Lock(), os.getpid()

    @property
    def spends(self) -> tuple[PrivacySpend, ...]:
        """Every release charged so far."""
        return tuple(self._spends)

    @property
    def spent(self) -> tuple[float, float]:
        """(Σε, Σδ) of the releases so far."""
        return math.fsum(s.epsilon for s in self._spends), math.fsum(s.delta for s in self._spends)

    def check(self, epsilon: Any, delta: Any = 0.0) -> None:
        """Refuse a release that would exceed the budget; nothing is charged.

        Raises:
            PrivacyBudgetError: what is left is less than `epsilon` or `delta`.
        """
        if not (is_number(epsilon) and is_number(delta) and epsilon >= 0 and delta >= 0):
            raise ValueError(f"a release costs no less than nothing, got epsilon {epsilon!r} and delta {delta!r}")
        if os.getpid() != self._process:
            raise PrivacyBudgetError(
                "this budget was made in another process, whose releases it cannot see: fit in the process that made it"
            )
        all_epsilon = math.fsum((*(s.epsilon for s in self._spends), epsilon))
        all_delta = math.fsum((*(s.delta for s in self._spends), delta))
        # ten releases of a tenth each may differ from the whole by a rounding, not by more
        if all_epsilon > self.epsilon * (1 + 1e-12) or all_delta > self.delta * (1 + 1e-12):
            spent = self.spent
            raise PrivacyBudgetError(
                f"this release costs epsilon {epsilon:g} and delta {delta:g}, and of the budget (epsilon "
                f"{self.epsilon:g}, delta {self.delta:g}) {spent[0]:g} and {spent[1]:g} are spent: ask for less, or "
                "use the structures that are released already (queries of them are free)"
            )

    def charge(self, *spends: PrivacySpend) -> None:
        """Count a release, or several, all or none of them: refused as `check` does."""
        with self._lock:
            self.check(math.fsum(s.epsilon for s in spends), math.fsum(s.delta for s in spends))
            self._spends.extend(spends)
            self._releases.update(*(s.releases for s in spends))

    def counts(self, spend: PrivacySpend) -> bool:
        """Whether a release, or every part of a merged one, was charged."""
        return self._releases.issuperset(spend.releases)

    def __copy__(self) -> "PrivacyBudget":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "PrivacyBudget":
        return self

    def __reduce__(self) -> Never:
        raise TypeError(
            "a PrivacyBudget counts in one process and cannot be pickled: fit with n_jobs=1, and keep what was fitted "
            "by its own save()"
        )

    def __repr__(self) -> str:
        epsilon, delta = self.spent
        return f"PrivacyBudget(epsilon={self.epsilon:g}, delta={self.delta:g}; spent {epsilon:g}, {delta:g})"
