"""What `PrivateDistance` can be asked for, before a row is read and before a query is answered."""

from typing import Any

from normkit.estimators._parameters import check, check_choice, check_number, check_whole
from normkit.estimators.private.bounds import require_bounds

__all__ = ["check_query", "check_structure"]

_SMALLEST_ALPHA = 1e-3  # log(2^20)/α shells are some 14 000; with α in the rounding of 1 + α they would never end


def check_structure(metric: Any, p: Any, bounds: Any, depth: Any, n_projections: Any) -> None:
    """ValueError where what is to be released makes no sense."""
    check_choice("metric", metric, ("l1", "l2", "sqeuclidean", "lp"))
    if metric == "lp":
        check_number("p", p, 0.0, "the power for metric 'lp', a finite number above 0")
    else:
        check("p", p, p is None, f"None where metric is {metric!r}: only 'lp' has a power")
    if depth is not None:
        check_whole("depth", depth, 1, "None, or a whole number from 1 to 20", most=20)
    check_whole("n_projections", n_projections, 1, "a whole number of 1 or more")
    require_bounds(bounds)


def check_query(metric: str, query: Any, alpha: Any) -> None:
    """ValueError where sums of this metric cannot be asked for in this way."""
    check_choice("query", query, ("consistent", "geometric"))
    if query == "geometric" and metric != "l1":
        raise ValueError(f"query 'geometric' is for metric 'l1', and metric is {metric!r}: choose consistent")
    check_number(
        "alpha",
        alpha,
        _SMALLEST_ALPHA,
        f"a number from {_SMALLEST_ALPHA:g} on, below which the shells of a query are too many",
        closed=True,
    )
