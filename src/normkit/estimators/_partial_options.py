"""What the options of `PartialCorrelation` may be, each refusal in one line, before anything is computed."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from normkit.estimators._arrays import check_backend
from normkit.estimators._partial_estimate import check_shrinkage
from normkit.estimators.zeros import check_rule

__all__ = ["check_cutoff", "check_options"]


def check_options(estimator: Any) -> None:
    """Raises ValueError for the first option that is none.

    Options that are not needed this time (a seed without permutations) are checked all the same: they would fail later.
    """
    check_shrinkage(estimator.shrinkage)
    check_rule(estimator.zeros)
    if not (_real(estimator.fdr) and 0 < estimator.fdr < 1):
        raise ValueError(f"fdr is {estimator.fdr!r}: a rate between 0 and 1 is wanted, such as 0.05")
    if not (_whole(estimator.n_permutations) and estimator.n_permutations >= 0):
        raise ValueError(
            f"n_permutations is {estimator.n_permutations!r}: a whole number is wanted, 0 for none, 100 for a start"
        )
    if estimator.cutoff is not None and not (_real(estimator.cutoff) and 0 < estimator.cutoff <= 1):
        raise ValueError(
            f"cutoff is {estimator.cutoff!r}: an absolute correlation in (0, 1] is wanted, or None for all pairs"
        )
    if estimator.n_jobs is not None and not (_whole(estimator.n_jobs) and estimator.n_jobs != 0):
        raise ValueError(f"n_jobs is {estimator.n_jobs!r}: a number of processes is wanted, -1 for all cores, or None")
    try:
        check_random_state(estimator.random_state)
    except (ValueError, TypeError):
        raise ValueError(
            f"random_state is {estimator.random_state!r}: a whole number from 0 to 2³² − 1, a RandomState or None is "
            "wanted"
        ) from None
    check_backend(estimator.backend, estimator.device)


def check_cutoff(cutoff: Any) -> None:
    """Raises ValueError where the bound of |ρ| that `edges` was given is none."""
    if not (_real(cutoff) and 0 <= cutoff <= 1):
        raise ValueError(f"cutoff is {cutoff!r}: an absolute correlation in [0, 1] is wanted")


def _real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
