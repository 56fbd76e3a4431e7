"""What the private estimators share: a budget that is checked, one release of integers, and nothing kept beside it."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from normkit.data.files import atomic
from normkit.estimators.private import fast_noise
from normkit.estimators.private.calibration import concentrated_sigma, gaussian_sigma, rounding_delta
from normkit.estimators.private.noise import add_noise, noise_variance, opendp_measurement
from normkit.estimators.private.spend import PrivacyBudget, PrivacyBudgetError, PrivacySpend

__all__ = ["PrivateEstimator", "Sensitivity", "whole_or_nothing"]

Fit = TypeVar("Fit", bound=Callable[..., Any])

RELATIONS = ("add_remove", "replace_one")
SOURCES = ("opendp", "fast")

_FAST_DELTA = 1e-6  # the most that the fast sampler may add to a δ of 0


class Sensitivity:
    """What one record changes in the released vector of `size` numbers: L1 and L2 bounds, in the unit of the numbers.

    `steps` is how many steps of the integers make that unit: 1 for counts, 2²⁰ for features. Features were rounded to
    whole steps, so each of the `touched` entries that one record adds to may move by a step more.
    """

    def __init__(self, l1: float | int, l2: float | int, *, size: int, steps: int, touched: int = 0) -> None:
        self.l1 = math.ceil(l1 * steps + touched)
        self.l2 = float(l2 * steps) + math.sqrt(touched)
        self.size, self.steps = size, steps


def whole_or_nothing(fit: Fit) -> Fit:
    """A `fit` that leaves the object as it was where it raises: no new public parts stand beside old noisy sums."""

    @wraps(fit)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast("Fit", guarded)


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
    insecure_seed: int | None
    spend_: PrivacySpend
    noise_variance_: float

    _released: tuple[str, ...] = ()
    """Names of the fitted arrays that a file of it holds."""

    def _check_budget(self) -> None:
        """Refuse what cannot be spent, before any row is looked at.

        Raises:
            ValueError: ε, δ, the relation, the mechanism or the source of noise makes no sense.
            PrivacyBudgetError: this object has released already and no budget allows another release.
        """
        if not isinstance(self.epsilon, (int, float, np.number)) or not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon is {self.epsilon!r}: give a finite number above 0")
        if not isinstance(self.delta, (int, float, np.number)) or not 0 <= self.delta < 1:
            raise ValueError(f"delta is {self.delta!r}: give a number in [0, 1), far below 1/(number of rows)")
        if self.neighbours not in RELATIONS:
            raise ValueError(f"neighbours is {self.neighbours!r}: choose one of {', '.join(RELATIONS)}")
        if self.mechanism not in (None, "laplace", "gaussian"):
            raise ValueError(
                f"mechanism is {self.mechanism!r}: choose laplace, gaussian, or None to take it from delta"
            )
        if self.mechanism == "laplace" and self.delta > 0:
            raise ValueError(f"delta is {self.delta}, and laplace is pure: give delta=0, or mechanism='gaussian'")
        if self.mechanism == "gaussian" and self.delta == 0:
            raise ValueError("delta is 0, and gaussian is not pure: give a delta above 0, or mechanism='laplace'")
        if self.noise not in (None, *SOURCES):
            raise ValueError(f"noise is {self.noise!r}: choose one of {', '.join(SOURCES)}")
        before = getattr(self, "spend_", None)
        if self.budget is not None:
            self._check_against(self.budget)
        elif before is not None and before.private:
            raise PrivacyBudgetError(
                f"this object has released once (epsilon {before.epsilon:g}, delta {before.delta:g}), and a second "
                "release from the same data adds to that: give both a budget=PrivacyBudget(epsilon, delta), or fit a "
                "new object to other data"
            )

    def _check_against(self, budget: Any) -> None:
        if not isinstance(budget, PrivacyBudget):
            raise ValueError(f"budget is {budget!r}: give a PrivacyBudget(epsilon, delta)")
        if self.noise == "fast" and self.insecure_seed is None and self.delta == 0 and budget.delta == 0:
            raise ValueError(
                "noise is 'fast', whose error counts in delta, and the budget's delta is 0: give the budget a delta, "
                "or use noise='opendp'"
            )
        owed = self._uncounted(budget)
        more = (owed.epsilon, owed.delta) if owed else (0.0, 0.0)
        budget.check(self.epsilon + more[0], self.delta + more[1])

    def _uncounted(self, budget: PrivacyBudget) -> PrivacySpend | None:
        """The object's last release, where the budget has not counted it: it was given to the object later."""
        before: PrivacySpend | None = getattr(self, "spend_", None)
        counted = before is None or not before.private or any(spend is before for spend in budget.spends)
        return None if counted else before

    def _release(self, values: Int[ndarray, "size"], sensitivity: Sensitivity) -> Float[ndarray, "size"]:
        """`values` (in steps) with noise, in the unit of the released numbers; sets `spend_` and `noise_variance_`."""
        mechanism = "gaussian" if self.delta > 0 else "laplace"
        source = "insecure" if self.insecure_seed is not None else self.noise or "opendp"
        if source == "opendp":
            opendp_measurement(mechanism, 1.0)  # a missing package is named before anything is spent
        if mechanism == "laplace":
            scale, moved = _laplace_scale(float(self.epsilon), sensitivity.l1, source), float(sensitivity.l1)
            delta, rho = 0.0, float(self.epsilon) ** 2 / 2
            if source == "fast":
                delta = (1 + math.exp(min(self.epsilon, 700.0))) * fast_noise.error("laplace", scale, sensitivity.size)
                if not delta < _FAST_DELTA:
                    raise ValueError(
                        f"noise is 'fast', whose error costs a delta of {delta:.1g} at epsilon {self.epsilon:g}: use "
                        "noise='opendp', whose samplers are exact"
                    )
        else:
            scale, moved = _gaussian_scale(float(self.epsilon), float(self.delta), sensitivity, source), sensitivity.l2
            delta, rho = float(self.delta), moved**2 / (2 * scale**2)
        spend = PrivacySpend(
            mechanism=mechanism,
            sensitivity=moved / sensitivity.steps,
            scale=scale / sensitivity.steps,
            relation=self.neighbours,
            epsilon=float(self.epsilon),
            delta=delta,
            rho=rho,
            source=source,
        )
        if self.budget is not None:
            if owed := self._uncounted(self.budget):
                self.budget.charge(owed)
            self.budget.charge(spend)
        self.spend_ = spend
        self.noise_variance_ = noise_variance(mechanism, scale) / sensitivity.steps**2
        return add_noise(values, mechanism, scale, source, self.insecure_seed) / sensitivity.steps

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
        """The release of two disjoint parts of the data as one: sums add, variances add, the budget is the larger one.

        Both must have the same public parts (fit them with the same parameters and the same integer `random_state`).

        Raises:
            ValueError: the two were built with other parameters or other public frequencies.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        self._check_mergeable(other)
        merged = type(self)(**self.get_params(deep=False))
        for name, value in vars(self).items():
            if name.endswith("_"):
                setattr(merged, name, value)
        for name in self._summed():
            setattr(merged, name, getattr(self, name) + getattr(other, name))
        merged.noise_variance_ = self.noise_variance_ + other.noise_variance_
        larger = {
            name: max(getattr(self.spend_, name), getattr(other.spend_, name)) for name in ("epsilon", "delta", "rho")
        }
        merged.spend_ = replace(self.spend_, **larger)
        merged._prepare()
        return merged

    def _summed(self) -> tuple[str, ...]:
        """Names of the released arrays that add up over disjoint parts; the other ones are public."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """Recompute what queries need from the released numbers."""

    def _check_mergeable(self, other: "PrivateEstimator") -> None:
        same_kind = type(self) is type(other) and self.spend_.relation == other.spend_.relation
        if not same_kind or self.spend_.private is not other.spend_.private:
            raise ValueError("merge needs two objects of one class, with one relation, both private or both not")
        for name in set(self._released) - set(self._summed()):
            if not np.array_equal(getattr(self, name), getattr(other, name)):
                raise ValueError(
                    f"the two objects differ in {name}: build both with the same parameters and the same integer "
                    "random_state"
                )

    def __getstate__(self) -> dict[str, Any]:
        # what was counted about the rows themselves stays in this process
        return {name: value for name, value in super().__getstate__().items() if not name.startswith("_unreleased")}

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)
        released = getattr(self, "spend_", None)
        private = self.insecure_seed is None and (released is None or released.private)
        return text if private else f"{text}  # NOT PRIVATE: insecure_seed"


def _laplace_scale(epsilon: float, sensitivity: int, source: str) -> float:
    """Δ₁/ε, rounded up until OpenDP's own map certifies ε."""
    scale = sensitivity / epsilon
    if source == "opendp":
        while opendp_measurement("laplace", scale).map(sensitivity) > epsilon:
            scale = math.nextafter(scale, math.inf)
    return scale


def _gaussian_scale(epsilon: float, delta: float, sensitivity: Sensitivity, source: str) -> float:
    """σ of the analytic curve, at a δ that leaves room for the step from the continuous law to the drawn one.

    Where e^ε makes that step dear, σ is that of zero-concentrated privacy, which holds for the discrete law itself.

    Raises:
        ValueError: the fast sampler's own error would use half of δ.
    """
    first = gaussian_sigma(epsilon, delta, sensitivity.l2)
    lost = rounding_delta(epsilon, first, sensitivity.size)
    if source == "fast":
        sampler = (1 + math.exp(min(epsilon, 700.0))) * fast_noise.error("gaussian", first, sensitivity.size)
        if sampler > delta / 4:
            raise ValueError(
                f"noise is 'fast', whose error costs {sampler:.1g} of delta {delta:g} at epsilon {epsilon:g}: use "
                "noise='opendp', whose samplers are exact"
            )
        lost += sampler
    if lost <= delta / 2:
        return gaussian_sigma(epsilon, delta - lost, sensitivity.l2)
    return concentrated_sigma(epsilon, delta if source == "opendp" else delta * 3 / 4, sensitivity.l2)
