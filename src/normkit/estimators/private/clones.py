"""Clones of an estimator without a budget: how often they have released, in this process.

scikit-learn's cross-validation, grid searches and ensembles fit clones, and a clone knows nothing of the estimator that
it was made from: each of five folds would release from mostly the same rows, and each would state its own ε alone.
Whether two fits see the same rows cannot be known without keeping something of the rows, so it is not asked: the second
release of a family of clones is warned of, and a `PrivacyBudget`, which clones share, is the remedy.
"""

import warnings
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from normkit.estimators.private.spend import PrivacySpend, PrivacyWarning

__all__ = ["note_release", "same_family", "warn_of_clones"]


@dataclass
class _Family:
    last: PrivacySpend | None = None
    warned: bool = False


# beside the objects, not in them: a fitted object's dictionary, its pickle and its file know nothing of it
_families: WeakKeyDictionary[Any, _Family] = WeakKeyDictionary()


def same_family(estimator: Any, clone: Any) -> None:
    """`clone` counts with `estimator` from now on."""
    _families[clone] = _families.setdefault(estimator, _Family())


def note_release(estimator: Any, spend: PrivacySpend) -> None:
    """A member without a budget has released."""
    if spend.private and estimator in _families:
        _families[estimator].last = spend


def warn_of_clones(estimator: Any) -> None:
    """Warn, once for a family, that a member without a budget is about to release after another one."""
    family = _families.get(estimator)
    if family is None or family.last is None or family.warned:
        return
    family.warned = True
    warnings.warn(
        f"a clone of this estimator has released already (epsilon {family.last.epsilon:g}, delta "
        f"{family.last.delta:g}), as cross-validation and searches make them: releases from the same rows add up, and "
        "without a budget nobody counts them. Give budget=PrivacyBudget(epsilon, delta), which clones share; where "
        "each clone sees other rows, nothing is wrong",
        PrivacyWarning,
        stacklevel=5,
    )
