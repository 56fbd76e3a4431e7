"""Two releases of disjoint parts of the data as one.

A row lies in one part, so a neighbour of the whole differs in one part alone, and the other release has the same law
for both. With M = (M_A, M_B), independent, and neighbours that differ in A,

    P(M(A, B) ∈ S) = E_b P(M_A(A) ∈ S_b) ≤ E_b [e^{ε_A} P(M_A(A') ∈ S_b) + δ_A] = e^{ε_A} P(M(A', B) ∈ S) + δ_A,

the same for B, so (max ε, max δ) holds for the pair, and ρ likewise; the sum is post-processing of the pair.

Which neighbours these are depends on the relation. Under "add_remove" it is one row more or less, wherever it is.
Under "replace_one" the number of rows in each part is public, as n is in each release, so the row that is replaced
stays in its part. In neither case is it hidden in which part a row is: a row that *moves* from A to B is one row less
in A and one more in B, two steps, which under "add_remove" costs ε_A + ε_B, and under "replace_one" shows in the
public sizes. Split by what is no secret.

Source: McSherry, *Privacy Integrated Queries*, SIGMOD 2009, theorem 4 (parallel composition).
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from normkit.estimators.private.spend import PrivacySpend

__all__ = ["merged"]


def merged(one: Any, other: Any) -> Any:
    """A fitted object that holds the sums of both.

    Raises:
        ValueError: they are of two classes, hold one release in common, or differ in what is public.
    """
    check_is_fitted(one)
    if type(one) is not type(other):
        raise ValueError(
            f"merge needs two objects of one class, got {type(one).__name__} and {type(other).__name__}: give another "
            f"{type(one).__name__}"
        )
    check_is_fitted(other)
    if one is other:
        raise ValueError("merge got the same object twice: give the releases of two disjoint parts of the data")
    if set(one.spend_.releases) & set(other.spend_.releases):
        raise ValueError(
            "merge got one release twice, as a copy of it or in a merged object: give the releases of disjoint parts "
            "of the data, each once"
        )
    if found := _differences(one, other):
        raise ValueError(
            f"the two objects differ in {', '.join(found)}: release both parts with the same parameters, columns and "
            "integer random_state"
        )
    spend = _spend(one.spend_, other.spend_)
    budget = {"epsilon": spend.epsilon, "delta": spend.delta if spend.mechanism == "gaussian" else 0.0, "budget": None}
    whole = type(one)(**{**one.get_params(deep=False), **budget})
    for name, value in (*vars(other).items(), *vars(one).items()):  # names of columns, where one has them
        if name.endswith("_"):
            setattr(whole, name, value)
    for name in one._summed():
        setattr(whole, name, getattr(one, name) + getattr(other, name))
    whole.noise_variance_ = one.noise_variance_ + other.noise_variance_
    whole.spend_ = spend
    whole._spends = tuple(past for each in (one, other) for past in each._history() if past is not each.spend_)
    whole._prepare()
    return whole


def _spend(one: PrivacySpend, other: PrivacySpend) -> PrivacySpend:
    larger = {
        name: max(getattr(one, name), getattr(other, name)) for name in ("epsilon", "delta", "rho", "sensitivity")
    }
    return replace(
        one,
        **larger,
        scale=math.hypot(one.scale, other.scale),
        source=one.source if one.source == other.source else "fast",  # the one that is not exact
        parts=one.parts + other.parts,
        releases=(*one.releases, *other.releases),
    )


def _differences(one: Any, other: Any) -> list[str]:
    """What is public and not the same, with both values where they are short."""
    first, second = _public(one), _public(other)
    found = [
        _named(name, value, second.get(name)) for name, value in first.items() if not _equal(value, second.get(name))
    ]
    names = [list(each.feature_names_in_) for each in (one, other) if hasattr(each, "feature_names_in_")]
    if len(names) == 2 and names[0] != names[1]:
        found.append(_named("feature names", *names))
    return found


def _public(fitted: Any) -> dict[str, Any]:
    common = {
        "neighbours": fitted.spend_.relation,
        "privacy": "private" if fitted.spend_.private else "not private",
        "mechanism": fitted.spend_.mechanism,
        "number of columns": fitted.n_features_in_,
    }
    return common | fitted._public()


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other))  # 0.5 of numpy and of Python are one number, and None equals None alone


def _named(name: str, one: Any, other: Any) -> str:
    short = not any(isinstance(each, np.ndarray) and each.size > 20 for each in (one, other))
    return f"{name} ({_text(one)} and {_text(other)})" if short else name


def _text(value: Any) -> str:
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)
