"""What the options of `PartialCorrelation` may be, each refusal in one line, before anything is computed."""

import sys
from typing import Any

from normkit.estimators._arrays import check_backend
from normkit.estimators._parameters import check, check_seed, is_number, is_whole
from normkit.estimators._partial_estimate import check_shrinkage
from normkit.estimators.zeros import check_rule

__all__ = ["check_cutoff", "check_options"]


def check_options(estimator: Any) -> None:
    """Raises ValueError for the first option that is none.

    Options that are not needed this time (a seed without permutations) are checked all the same: they would fail later.
    """
    check_shrinkage(estimator.shrinkage)
    check_rule(estimator.zeros)
    fdr, permutations, cutoff, jobs = estimator.fdr, estimator.n_permutations, estimator.cutoff, estimator.n_jobs
    check("fdr", fdr, is_number(fdr) and 0 < fdr < 1, "a rate between 0 and 1, such as 0.05")
    check("n_permutations", permutations, is_whole(permutations, 0), "a whole number, 0 for none, 100 for a start")
    within = cutoff is None or (is_number(cutoff) and 0 < cutoff <= 1)
    check("cutoff", cutoff, within, "an absolute correlation in (0, 1], or None for all pairs")
    counted = jobs is None or (is_whole(jobs, -sys.maxsize) and jobs != 0)
    check("n_jobs", jobs, counted, "a number of processes, -1 for all cores, or None")
    check_seed(estimator.random_state)
    check_backend(estimator.backend, estimator.device)


def check_cutoff(cutoff: Any) -> None:
    """Raises ValueError where the bound of |ρ| that `edges` was given is none."""
    check("cutoff", cutoff, is_number(cutoff) and 0 <= cutoff <= 1, "an absolute correlation in [0, 1]")
