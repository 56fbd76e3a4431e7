"""Closed rows: columns of a table whose total hardly varies from row to row, so that their correlations are spurious.

For columns x_1 … x_D of amounts with total T = Σ x_k, over the N rows without a gap in them,

    figure = 1 − var(T)/Σ_k var(x_k)

It is 0 on average for columns that are independent, and 1 for parts of a whole. Since Σ_{i≠j} cov(x_i, x_j) is minus
the figure times Σ_k var(x_k), a table with figure 1 has correlations of −1/(D − 1) on average if the variances are
equal, whatever the parts have to do with each other.

**Threshold.** 0.99. For independent normal columns of equal variance, var(T)/Σ var(x_k) follows χ²/(N − 1) with N − 1
degrees of freedom; at N = 10, the fewest rows that are judged, it is below 0.01 with probability 2·10⁻⁸. Tables that
were rounded, or from which a trace is missing, stay far above 0.99. From 0.9 on it says `watch`: something small is
missing from the whole (probability 4·10⁻⁴ by chance at N = 10).

**Which columns.** Those without negative values that vary and have a number in half of the rows at least. Where they do
not sum to a constant together, the subset that does is found as the solution of X c = 1 (c_k = 1/total for the parts, 0
for others such as an identifier), and mended: a column belongs to the whole if the rest of the whole falls by about one
where it rises by one. What is found is split into the smallest wholes, each judged by the same figure, without the rows
in which it has nothing. Columns of 0 and 1 of which each row has exactly one are indicators, not parts.

**What it leads to.** The place's detail gives the share of zeros (which need a rule before any logarithm), the part
with the largest mean share, and the pair with the strongest correlation whose partial correlation has the opposite sign
or is not significant (no t-test where samples are so few that the estimate is shrunk). The line of Python takes the
columns out of the table as it was given, without rows that have a gap in them or nothing but zeros.

Source: the pathology is K. Pearson's of 1897 (spurious correlation of indices) and I. Erb's, arXiv:1904.09480, abstract
and introduction; the figure and its threshold are derived here.
"""

import shlex
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csgraph

from normkit.data import Table
from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.probe import Probe
from normkit.diagnosis._framework.remedy import Remedy
from normkit.diagnosis._table_columns import columns_in_python
from normkit.estimators import PartialCorrelation

__all__ = ["ClosedRows"]

_ODD = 0.05
"""How far off a total is that of another kind of row, and how many of them there may be, as shares."""


class ClosedRows(Probe):
    """Share of the columns' variance that cancels in the row total; threshold 0.99. See the module's docstring.

    Source: I. Erb 2020, arXiv:1904.09480, for the pathology.
    """

    slug = "closed-rows"
    pathology = "columns that sum to a constant have correlations that say nothing of the parts"
    unit = "share of the columns' variance that cancels in the row total"
    threshold = 0.99
    threshold_source = "derived (normkit.diagnosis.closed_rows); Erb 2020, introduction, for the pathology"
    needs = frozenset({"table"})

    watched: ClassVar[float] = 0.9
    fewest_rows: ClassVar[int] = 10
    most_compared: ClassVar[int] = 1000
    """Pairs are compared among up to so many columns."""

    def run(self, context: Context) -> Finding | str:
        """Find the closed sets of columns and what their correlations hide."""
        assert context.table is not None
        names, table = np.array(context.table.names, dtype=object), context.table.values
        kept = (np.nan_to_num(table, nan=0.0, posinf=0.0, neginf=-1.0) >= 0).all(0) & (
            np.isfinite(table).mean(0) >= 0.5
        )
        values = table[np.isfinite(table[:, kept]).all(1)]
        if len(values) < self.fewest_rows:
            return f"{len(values)} rows without a gap are too few: at least {self.fewest_rows} are wanted"
        kept &= np.ptp(np.where(kept, values, 0.0), axis=0) > 0
        if kept.sum() < 3:
            return "fewer than three columns hold amounts that vary, without negative values"
        sets, rest = _closed_sets(values, np.flatnonzero(kept), self.watched)
        if not sets and len(rest) < 3:
            return "the columns that sum to a constant are indicators or two shares of one whole: nothing is hidden"
        wholes = sets or [rest]
        sites = [self._site(values[:, each], names[each]) for each in wholes]
        misled = [each for each, site in zip(wholes, sites, strict=True) if site.severity == "act"]
        remedies = tuple(_remedy(context.table, each) for each in misled[:1])
        summary = _summary(sites)
        if not sets:
            summary += _hint(context.table.values[:, rest], self.threshold)
        return self.conclude(sites, summary=summary, remedies=remedies)

    def _site(self, parts: np.ndarray, names: np.ndarray) -> Site:
        empty = parts.sum(1) == 0
        parts = parts[~empty]
        figure = cancelled(parts)
        severity: Severity = "act" if figure > self.threshold else "watch" if figure > self.watched else "ok"
        shares = parts.mean(0) / parts.mean(0).sum()
        detail = {
            "columns": len(names),
            "parts": ", ".join(map(repr, names)),
            "total": float(parts.sum(1).mean()),
            "lowest_total": float(parts.sum(1).min()),
            "highest_total": float(parts.sum(1).max()),
            "zeros": float((parts == 0).mean()),
            "empty_rows": int(empty.sum()),
            "dominating": str(names[shares.argmax()]),
            "dominating_share": float(shares.max()),
        }
        if severity == "act" and len(names) <= self.most_compared:
            detail |= _misleading(parts, names)
        return Site(_few(names), max(figure, 0.0), severity, detail)


def cancelled(parts: np.ndarray) -> float:
    """1 − var(Σ_k x_k)/Σ_k var(x_k) of (N, D)."""
    return float(1 - parts.sum(1).var() / parts.var(0).sum())


def _closed_sets(values: np.ndarray, columns: np.ndarray, level: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Sets of three columns or more that sum to a constant, one after the other, and the columns in no set."""
    found = []
    while (closed := _closed_subset(values, columns, level)) is not None:
        for whole in _split(values, closed, level):
            if len(whole) >= 3 and not _indicators(values[:, whole]):
                found.append(whole)
        columns = np.setdiff1d(columns, closed)
    return found, columns


def _split(values: np.ndarray, closed: np.ndarray, level: float) -> list[np.ndarray]:
    """The smallest wholes that a set of columns is made of, where it is more than one.

    With D the deviations and 1_A a whole's indicator, D 1_A is an eigenvector of the correlations with the eigenvalue
    1 − figure, so that the projector on the small eigenvalues joins columns of one whole only.
    """
    parts = values[:, closed]
    if len(values) <= len(closed):
        return [closed]
    spectrum, vectors = np.linalg.eigh(np.corrcoef(parts, rowvar=False))
    for small in (1 - level, (1 - level) / 10, 1e-4, 1e-8):
        kept = vectors[:, spectrum < small]
        joined = np.abs(kept @ kept.T) > 1e-3
        count, label = csgraph.connected_components(joined, directed=False)
        wholes = [label == each for each in range(count)]
        if count > 1 and all(each.sum() > 1 and cancelled(parts[:, each]) > level for each in wholes):
            return [closed[each] for each in wholes]
    return [closed]


def _closed_subset(values: np.ndarray, columns: np.ndarray, level: float) -> np.ndarray | None:
    """The columns of one whole, if there is one; where rows are too few for X c = 1 it must be nearly all of them."""
    if len(columns) < 2:
        return None
    parts = values[:, columns]
    starts = [np.ones(len(columns), bool)]
    if len(values) > len(columns):
        weights = np.linalg.lstsq(parts, np.ones(len(values)))[0]
        starts.insert(0, weights > weights.max() / 2)
    for start in starts:
        chosen = _mended(parts - parts.mean(0), start)
        if chosen.sum() >= 2 and cancelled(parts[:, chosen]) > level:
            return columns[chosen]
    return None


def _mended(centred: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The columns against which the rest of the chosen ones falls; what hardly varies had uncertain weights."""
    for _ in range(len(chosen)):
        rest = centred[:, chosen].sum(1)[:, None] - centred * chosen
        mended = (rest * centred).sum(0) < -0.5 * (centred * centred).sum(0)
        if (mended == chosen).all():
            break
        chosen = mended
    return chosen


def _indicators(parts: np.ndarray) -> bool:
    return bool(np.isin(parts, (0, 1)).all() and (parts.sum(1) == 1).all())


def _misleading(parts: np.ndarray, names: np.ndarray) -> dict[str, Any]:
    """The strongest correlation of shares that has another sign given all other parts, or is then not significant."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        shares = parts / parts.sum(1, keepdims=True)
        fitted = PartialCorrelation(zeros="multiplicative").fit(parts)
        plain = np.corrcoef(shares, rowvar=False)
    first, second = np.triu_indices(len(names), 1)
    raw, partial = np.nan_to_num(plain[first, second]), fitted.partial_correlation_[first, second]
    misled = raw * partial < 0
    if fitted.p_values_ is not None:
        misled |= fitted.p_values_[first, second] > 0.05
    if not misled.any():
        return {}
    worst = np.flatnonzero(misled)[np.abs(raw[misled]).argmax()]
    return {
        "misleading_pair": f"{names[first[worst]]} and {names[second[worst]]}",
        "correlation": float(raw[worst]),
        "partial_correlation": float(partial[worst]),
    }


def _remedy(table: Table, places: np.ndarray) -> Remedy:
    values = table.values[:, places]
    parts = values[np.isfinite(values).all(1) & (values != 0).any(1)]
    rule = "" if parts.all() else 'zeros="multiplicative"'
    chosen = columns_in_python(table, places.tolist())
    python = f"normkit.estimators.PartialCorrelation({rule}).fit({chosen}).to_frame()"
    shell = f"python -c {_quoted(f'import normkit; print({python})')}" if isinstance(table.source, str) else ""
    return Remedy(("partial-correlation",), "advice", python, shell)


def _quoted(program: str) -> str:
    """For a shell; in double quotes where they can be, since the program is full of single ones."""
    return shlex.quote(program) if set(program) & set('"$`\\!') else f'"{program}"'


def _hint(parts: np.ndarray, threshold: float) -> str:
    """What else a table may be of which no columns sum to a constant: with a row of another kind, or of counts."""
    rows = np.flatnonzero(np.isfinite(parts).all(1))
    totals = parts[rows].sum(1)
    usual = np.median(totals)
    odd = np.abs(totals - usual) > _ODD * usual
    if 0 < odd.sum() <= _ODD * len(rows) and cancelled(parts[rows[~odd]]) > threshold:
        where = ", ".join(f"row {row} with {total:.4g}" for row, total in zip(rows[odd][:3], totals[odd], strict=False))
        more = f" and {odd.sum() - 3} more" if odd.sum() > 3 else ""
        return f", but for {odd.sum()} of {len(rows)} rows they would, to {usual:.4g} ({where}{more})"
    if (parts[rows] == np.rint(parts[rows])).all():
        return "; if they are counts out of totals that mean nothing (reads of a sample), they are parts all the same"
    return ""


def _summary(sites: list[Site]) -> str:
    act = [site for site in sites if site.severity == "act"]
    if not act:
        watched = [site for site in sites if site.severity == "watch"]
        return f"{watched[0].path} nearly sum to a constant" if watched else "no columns sum to a constant"
    detail = act[0].detail
    text = f"{act[0].path} sum to {_total(detail)}, so their correlations are spurious"
    if "misleading_pair" in detail:
        text += (
            f": {detail['misleading_pair']} correlate by {detail['correlation']:+.2f}, given all others by "
            f"{detail['partial_correlation']:+.2f}"
        )
    return text


def _total(detail: Mapping[str, Any]) -> str:
    low, total, high = (detail[name] for name in ("lowest_total", "total", "highest_total"))
    rows = "every row" + (" that is not empty" if detail["empty_rows"] else "")
    if high - low <= 1e-6 * total:
        return f"{total:.4g} in {rows}"
    return f"about {total:.4g} in {rows} ({low:.4g} to {high:.4g})"


def _few(names: np.ndarray, most: int = 6) -> str:
    shown = list(map(str, names))
    return ", ".join(shown) if len(shown) <= most else f"{', '.join(shown[:3])} … {shown[-1]} ({len(shown)} columns)"
