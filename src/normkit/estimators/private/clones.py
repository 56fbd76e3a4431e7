"""Clones of an estimator: what they have released in this process, and what of it no budget has counted.

scikit-learn's cross-validation, grid searches and ensembles fit clones, and a clone knows nothing of the estimator that
it was made from: each of five folds would release from mostly the same rows, and each would state its own ε alone.
Whether two fits see the same rows cannot be known without keeping something of the rows, so it is not asked: the second
release of a family of clones is warned of, and a `PrivacyBudget`, which clones share, is the remedy. A budget that is
given to one clone after another has released does not count that one, so it is warned of too.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from normkit.estimators.private.spend import PrivacyBudget, PrivacySpend, PrivacyWarning

__all__ = ["note_release", "same_family", "warn_of_clones"]


@dataclass
class _Family:
    spends: dict[tuple[str, ...], PrivacySpend] = field(default_factory=dict)
    warned: bool = False


# beside the objects, not in them: a fitted object's dictionary, its pickle and its file know nothing of it
_families: WeakKeyDictionary[Any, _Family] = WeakKeyDictionary()


def same_family(estimator: Any, clone: Any, released: Iterable[PrivacySpend]) -> None:
    """`clone` counts with `estimator` from now on, which has `released` already, perhaps in another process."""
    for spend in released:
        note_release(estimator, spend)
    _families[clone] = _families.setdefault(estimator, _Family())


def note_release(estimator: Any, spend: PrivacySpend) -> None:
    """A member has released; the first release founds the family, as clones may come later."""
    if spend.private:
        _families.setdefault(estimator, _Family()).spends[spend.releases] = spend


def warn_of_clones(estimator: Any, budget: PrivacyBudget | None, own: Iterable[PrivacySpend]) -> None:
    """Warn, once for a family, that a member is about to release after another one, whose release is not counted.

    Counted are the releases that `budget` has been charged with, and the member's `own`.
    """
    family = _families.get(estimator)
    if family is None or family.warned:
        return
    known = {spend.releases for spend in own}
    missed = [
        spend
        for name, spend in family.spends.items()
        if name not in known and not (budget is not None and budget.counts(spend))
    ]
    if not missed:
        return
    family.warned = True
    remedy = (
        "without a budget nobody counts them. Give budget=PrivacyBudget(epsilon, delta), which clones share"
        if budget is None
        else "this budget has not counted that one. Where it saw the same rows, add it by budget.charge(clone.spend_)"
    )
    warnings.warn(
        f"a clone of this estimator has released already (epsilon {missed[-1].epsilon:g}, delta "
        f"{missed[-1].delta:g}), as cross-validation and searches make them: releases from the same rows add up, and "
        f"{remedy}; where each clone sees other rows, nothing is wrong",
        PrivacyWarning,
        stacklevel=5,
    )
