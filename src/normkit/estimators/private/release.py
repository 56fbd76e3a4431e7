"""What the private estimators share: a budget that is checked, one release of integers, and nothing kept beside it."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from threading import Lock, RLock
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from normkit.data.files import atomic
from normkit.estimators._parameters import check_choice, check_number, check_seed, check_whole
from normkit.estimators.private.clones import note_release, same_family, warn_of_clones
from normkit.estimators.private.merging import merged
from normkit.estimators.private.noise import add_noise, noise_variance
from normkit.estimators.private.scale import Sensitivity, noise_scale
from normkit.estimators.private.spend import PrivacyBudget, PrivacyBudgetError, PrivacySpend

__all__ = ["PrivateEstimator", "whole_or_nothing"]

Fit = TypeVar("Fit", bound=Callable[..., Any])

RELATIONS = ("add_remove", "replace_one")
SOURCES = ("opendp", "fast")
MECHANISMS = ("laplace", "gaussian")


@dataclass(frozen=True)
class _Plan:
    """A release before it is made: what it will have spent, and its noise in steps of the integers."""

    spend: PrivacySpend
    scale: float
    steps: int


def whole_or_nothing(fit: Fit) -> Fit:
    """A `fit` that leaves the object as it was where it raises: no new public parts stand beside old noisy sums.

    Fits of one object wait for each other, so that the second one sees what the first has released.
    """

    @wraps(fit)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _lock_of(self):
            before = dict(vars(self))
            try:
                return fit(self, *args, **kwargs)
            except BaseException:
                for name in set(vars(self)) - set(before):
                    delattr(self, name)
                vars(self).update(before)
                raise

    return cast("Fit", guarded)


# beside the objects, not in them: a lock can be neither copied nor pickled
_locks: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_lock_of_locks = Lock()


def _lock_of(estimator: Any) -> Any:
    with _lock_of_locks:
        return _locks.setdefault(estimator, RLock())


class PrivateEstimator(BaseEstimator):
    """Parameters of the budget, one release, and files that hold what was released and nothing else.

    A subclass has `epsilon`, `delta`, `neighbours`, `mechanism`, `noise`, `budget`, `insecure_seed` among its
    parameters.
    """

    epsilon: float
    delta: float
    neighbours: str
    mechanism: str | None
    noise: str | None
    budget: PrivacyBudget | None
    random_state: Any
    insecure_seed: int | None
    spend_: PrivacySpend
    noise_variance_: float

    _released: tuple[str, ...] = ()
    """Names of the fitted arrays that a file of it holds."""
    _spends: tuple[PrivacySpend, ...] = ()
    """All private releases of the object; use `_history`, which knows of a release read from a file."""

    def _check_budget(self) -> None:
        """Refuse what cannot be spent, before any row is looked at.

        Raises:
            ValueError: ε, δ, the relation, the mechanism or the source of noise makes no sense.
            PrivacyBudgetError: this object has released already and no budget allows another release.
        """
        check_number("epsilon", self.epsilon, 0.0, "a finite number above 0")
        check_number(
            "delta",
            self.delta,
            0.0,
            "a number in [0, 1), far below 1/(number of rows)",
            high=1.0,
            closed=True,
        )
        if self.insecure_seed is not None:
            check_whole("insecure_seed", self.insecure_seed, 0, "None, or for tests a whole number of 0 or more")
        check_choice("neighbours", self.neighbours, RELATIONS)
        if self.mechanism is not None:
            check_choice("mechanism", self.mechanism, MECHANISMS)
        if self.noise is not None:
            check_choice("noise", self.noise, SOURCES)
        check_seed(self.random_state)
        if self.mechanism == "laplace" and self.delta > 0:
            raise ValueError(f"delta is {self.delta}, and laplace is pure: give delta=0, or mechanism='gaussian'")
        if self.mechanism == "gaussian" and self.delta == 0:
            raise ValueError("delta is 0, and gaussian is not pure: give a delta above 0, or mechanism='laplace'")
        before = self._history()
        if self.budget is not None:
            self._check_against(self.budget)
        elif before:
            raise PrivacyBudgetError(
                f"this object has released once (epsilon {before[-1].epsilon:g}, delta {before[-1].delta:g}), and a "
                "second release from the same data adds to that: give both a budget=PrivacyBudget(epsilon, delta), or "
                "fit a new object to other data"
            )
        if self.insecure_seed is None:
            warn_of_clones(self, self.budget, before)

    def _check_against(self, budget: Any) -> None:
        if not isinstance(budget, PrivacyBudget):
            raise ValueError(f"budget is {budget!r}: give a PrivacyBudget(epsilon, delta)")
        if self.noise == "fast" and self.insecure_seed is None and self.delta == 0 and budget.delta == 0:
            raise ValueError(
                "noise is 'fast', whose error counts in delta, and the budget's delta is 0: give the budget a delta, "
                "or use noise='opendp'"
            )
        self._check_with_owed(budget, float(self.epsilon), float(self.delta))

    def _check_with_owed(self, budget: PrivacyBudget, epsilon: float, delta: float) -> None:
        owed = self._uncounted(budget)
        budget.check(
            math.fsum((epsilon, *(spend.epsilon for spend in owed))),
            math.fsum((delta, *(spend.delta for spend in owed))),
        )

    def _history(self) -> tuple[PrivacySpend, ...]:
        """All private releases of the object, also the one that was read from a file."""
        last: PrivacySpend | None = getattr(self, "spend_", None)
        missing = last is not None and last.private and all(last.releases != each.releases for each in self._spends)
        return (*self._spends, last) if last is not None and missing else self._spends

    def _uncounted(self, budget: PrivacyBudget) -> list[PrivacySpend]:
        """The object's releases that the budget has not counted: it was given to the object later, or not always."""
        return [spend for spend in self._history() if not budget.counts(spend)]

    def _plan(self, sensitivity: Sensitivity) -> _Plan:
        """The noise for what one record can change; refuses what cannot be spent, and needs no row.

        Raises:
            ValueError: there is no noise for this ε and δ from this source.
            PrivacyBudgetError: the budget does not allow it, the source's own δ counted in.
        """
        mechanism = "gaussian" if self.delta > 0 else "laplace"
        source = "insecure" if self.insecure_seed is not None else self.noise or "opendp"
        epsilon = float(self.epsilon)
        scale, delta = noise_scale(mechanism, epsilon, float(self.delta), sensitivity, source)
        moved = float(sensitivity.l1) if mechanism == "laplace" else sensitivity.l2
        spend = PrivacySpend(
            mechanism=mechanism,
            sensitivity=moved / sensitivity.steps,
            scale=scale / sensitivity.steps,
            relation=self.neighbours,
            epsilon=epsilon,
            delta=delta,
            rho=epsilon**2 / 2 if mechanism == "laplace" else (moved / scale) ** 2 / 2,
            source=source,
        )
        if self.budget is not None:
            self._check_with_owed(self.budget, epsilon, delta)
        return _Plan(spend, scale, sensitivity.steps)

    def _release(self, values: Int[ndarray, "size"], plan: _Plan) -> Float[ndarray, "size"]:
        """`values` (in steps) with noise, in the unit of the released numbers; sets `spend_` and `noise_variance_`."""
        spend = plan.spend
        if self.budget is not None:
            self.budget.charge(*self._uncounted(self.budget), spend)
        note_release(self, spend)
        self._spends = (*self._history(), spend) if spend.private else self._history()
        self.spend_ = spend
        self.noise_variance_ = noise_variance(spend.mechanism, plan.scale) / plan.steps**2
        return add_noise(values, spend.mechanism, plan.scale, spend.source, self.insecure_seed) / plan.steps

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the release to one safetensors file, whole or not at all: noisy numbers, parameters, spend; no row.

        Raises:
            NotFittedError: nothing was released yet.
            OSError: the file cannot be written.
        """
        from normkit.estimators.private.files import write

        check_is_fitted(self)
        with atomic(path) as temporary:
            write(self, temporary)

    def merge(self, other: "PrivateEstimator") -> Any:
        """The release of two disjoint parts of the data as one: sums add, and so do the variances of their noise.

        Both must have the same public parts: fit them with the same parameters, columns and integer `random_state`; ε
        and δ may differ. A row is in one part, so the whole is (max ε, max δ)-private under either relation (parallel
        composition), and `epsilon`, `delta` and `spend_` of the result say so. It does not hide in which part a row
        is: under "add_remove" a row that moves from one part to the other is two steps, and under "replace_one" the
        sizes of the parts are public. The result has no budget, as both parts are counted already.

        Raises:
            ValueError: they differ in what is public, which is named, or hold one release in common.
        """
        return merged(self, other)

    def __sklearn_clone__(self) -> Any:
        clone = super().__sklearn_clone__()
        same_family(self, clone, self._history())
        return clone

    def _public(self) -> dict[str, Any]:
        """What shapes the answers and is no secret, by the name of its parameter: the same in all parts of a merge."""
        raise NotImplementedError

    def _summed(self) -> tuple[str, ...]:
        """Names of the released arrays that add up over disjoint parts; the other ones are public."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """Recompute what queries need from the released numbers."""

    def __getstate__(self) -> dict[str, Any]:
        # what was counted about the rows themselves stays in this process
        return {name: value for name, value in super().__getstate__().items() if not name.startswith("_unreleased")}

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)
        released = getattr(self, "spend_", None)
        private = self.insecure_seed is None and (released is None or released.private)
        return text if private else f"{text}  # NOT PRIVATE: insecure_seed"
