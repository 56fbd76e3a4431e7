"""Partial Correlations in Compositional Data Analysis (Erb 2020)."""

import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from normkit import data
from normkit.estimators import PartialCorrelation, alr, basis_shrinkage_covariance, clr, proportionality
from normkit.papers import Context, Ledger, Paper, Records, Show
from normkit.papers._many_parts import judge_many_parts, measure_many_parts
from normkit.papers._roman_cups import judge_cups, measure_cups

__all__ = ["paper"]

paper = Paper(
    slug="partial-correlation",
    title="Partial Correlations in Compositional Data Analysis",
    authors=("Ionas Erb",),
    year=2020,
    arxiv="1904.09480",
    nuisance="the total of a row, and the part that all others are divided by",
    pathology="Parts of a whole are tied by the constant sum, so correlations of proportions are spurious, and those "
    "of log-ratios depend on the reference.",
    remedy="Correlate what all other parts leave of two parts' log-ratios: no reference enters; with few samples "
    "shrink the covariance of the log proportions first.",
    provides=(
        "normkit.estimators.PartialCorrelation",
        "normkit.estimators.partial_correlation",
        "normkit.estimators.basis_shrinkage_covariance",
        "normkit.estimators.shrink_covariance",
        "normkit.estimators.proportionality",
        "normkit.estimators.logratio_variance",
        "normkit.estimators.CLRTransformer",
        "normkit.estimators.ALRTransformer",
        "normkit.estimators.ILRTransformer",
        "normkit.estimators.replace_zeros",
    ),
    probe="closed-rows",
)

METHODS = {
    "raw": "proportions",
    "clr": "log-ratios (clr)",
    "rho_p": "proportionality",
    "pcor": "partial",
    "bshrink": "partial, shrunk",
}
SIZES = (20, 50, 100, 300)


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", minutes=0.1)
@paper.run(scale="full", minutes=0.1)
def cups(ctx: Context) -> list[dict[str, Any]]:
    """The Roman glass cups, 47 × 11 oxides: every figure that is known of them."""
    return measure_cups()


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", seeds=15, minutes=0.1)
@paper.run(scale="full", seeds=15, minutes=0.1)
def network(ctx: Context) -> list[dict[str, Any]]:
    """Which measure ranks the edges of a known network of 40 parts first: average precision, by sample size."""
    from sklearn.metrics import average_precision_score

    rows = []
    for samples in ctx.pick(smoke=SIZES[:1], embedded=SIZES):
        X, precision = data.network_compositions(samples, seed=ctx.seed)
        upper = np.triu_indices(len(precision), 1)
        edges = precision[upper] != 0
        found = {method: matrix[upper] for method, matrix in _measures(X).items()}
        right = np.sign(found["bshrink"][edges]) == -np.sign(precision[upper][edges])
        quality = {method: float(average_precision_score(edges, np.abs(each))) for method, each in found.items()}
        rows.append({"samples": samples, "base": edges.mean().item(), "signs": right.mean().item(), **quality})
    return rows


def _measures(X: np.ndarray) -> dict[str, np.ndarray]:
    with warnings.catch_warnings():  # fewer samples than parts, on purpose
        warnings.simplefilter("ignore", UserWarning)
        plain = PartialCorrelation(shrinkage=None).fit(X).partial_correlation_
    return {
        "raw": np.corrcoef(X, rowvar=False),
        "clr": np.corrcoef(clr(X), rowvar=False),
        "rho_p": proportionality(X),
        "pcor": plain,
        "bshrink": PartialCorrelation(shrinkage="basis").fit(X).partial_correlation_,
    }


@paper.run(scale="smoke", minutes=0.001)
@paper.run(scale="embedded", seeds=30, minutes=0.02)
@paper.run(scale="full", seeds=30, minutes=0.02)
def spurious(ctx: Context) -> list[dict[str, Any]]:
    """Independent amounts of 8 parts, one of them large and restless: mean |coefficient| over all pairs."""
    X = data.dominated_compositions(ctx.pick(smoke=50, embedded=500), seed=ctx.seed)
    upper = np.triu_indices(X.shape[1], 1)
    found = {
        "raw": np.corrcoef(X, rowvar=False),
        "log": np.corrcoef(np.log(X), rowvar=False),
        "clr": np.corrcoef(clr(X), rowvar=False),
        "pcor": PartialCorrelation(shrinkage=None).fit(X).partial_correlation_,
    }
    return [{method: np.abs(matrix[upper]).mean().item() for method, matrix in found.items()}]


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", seeds=3, minutes=0.1)
@paper.run(scale="full", seeds=3, minutes=0.1)
def exactness(ctx: Context) -> list[dict[str, Any]]:
    """Largest differences in ρ: over references, row totals, the factored and the dense path, torch and numpy."""
    draw = np.random.default_rng(ctx.seed)
    parts = ctx.pick(smoke=6, embedded=30)
    X = data.network_compositions(4 * parts, parts, seed=ctx.seed)[0]
    plain = _fit(X, None)
    references = max(np.abs(by_reference(X, r) - np.delete(np.delete(plain, r, 0), r, 1)).max() for r in range(parts))
    wide = data.network_compositions(parts, 4 * parts, edges=0.02, seed=ctx.seed)[0]
    shrunk = _fit(wide, "basis")
    return [
        {
            "references": float(references),
            "totals": _gap(_fit(X * draw.lognormal(size=(len(X), 1)), None), plain),
            "dense": _gap(_dense(wide), shrunk),
            "torch": max(_gap(_fit(X, None, "torch"), plain), _gap(_fit(wide, "basis", "torch"), shrunk)),
        }
    ]


def _fit(X: np.ndarray, shrinkage: str | None, backend: str = "numpy") -> np.ndarray:
    found: np.ndarray = PartialCorrelation(shrinkage=shrinkage, backend=backend).fit(X).partial_correlation_
    return found


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def by_reference(X: Float[np.ndarray, "samples parts"], reference: int) -> Float[np.ndarray, "others others"]:
    """ρ of all parts but the reference, from the inverse covariance of their log-ratios to it."""
    return _from_precision(np.linalg.inv(np.cov(alr(X, reference), rowvar=False)))


def _dense(X: np.ndarray) -> np.ndarray:
    """The shrunk ρ by a pseudo-inverse of the D × D covariance, without any factor."""
    centre = np.eye(X.shape[1]) - 1 / X.shape[1]
    return _from_precision(np.linalg.pinv(centre @ basis_shrinkage_covariance(X).covariance @ centre, hermitian=True))


def _from_precision(precision: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diag(precision))
    result = -precision / np.outer(scale, scale)
    np.fill_diagonal(result, 1.0)
    return result


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", minutes=1, alone=True)
@paper.run(scale="full", minutes=1, alone=True)
def many_parts(ctx: Context) -> list[dict[str, Any]]:
    """2·10⁴ parts of 500 samples, the pairs above a cutoff: memory and time; on a GPU too where there is one."""
    return measure_many_parts(ctx)


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The cups' known figures; the ranking of edges; what is left of spurious correlation; exactness and size."""
    judge_cups(records.where(run="cups"), claim, show)
    _judge_network(records.where(run="network"), claim, show)
    _judge_spurious(records.where(run="spurious"), claim, show)
    source = "exact by construction (section 2: residuals do not depend on the reference)"
    exact = records.where(run="exactness")
    for figure, what in (
        ("references", "any reference part"),
        ("totals", "other row totals"),
        ("dense", "the dense path against the factored one"),
        ("torch", "torch against numpy"),
    ):
        claim(f"largest difference in ρ, {what}", exact.largest(figure), at_most=1e-10, source=source, n=exact.seeds)
    judge_many_parts(records.where(run="many_parts"), claim, show)


def _judge_network(records: Records, claim: Ledger, show: Show) -> None:
    sizes = records.distinct("samples")
    mean = {(n, m): records.mean(m, samples=n) for n in sizes for m in (*METHODS, "signs", "base")}
    source = "Jin, Notredame, Erb 2022 (arXiv:2212.00496) for the shrinkage; bars of this project's own trials"
    largest, n = max(sizes), records.seeds
    claim(
        "known network, N = 300: average precision, shrunk", mean[largest, "bshrink"], at_least=0.88, n=n, source=source
    )
    claim("known network, N = 300: average precision, clr", mean[largest, "clr"], at_most=0.72, n=n, source=source)
    gain = min(mean[k, "bshrink"] - mean[k, "pcor"] for k in sizes)
    claim("known network: shrunk above unshrunk at every N, smallest difference", gain, at_least=0, n=n, source=source)
    lead = min(mean[k, "clr"] - mean[k, "bshrink"] for k in sizes if k <= 50)
    claim("a limit: for N ≤ 50 clr ranks edges better, smallest difference", lead, at_least=0, n=n, source=source)
    rows = [[n, *(mean[n, m] for m in METHODS), 100 * mean[n, "signs"], mean[n, "base"]] for n in sizes]
    headers = ["N", *METHODS.values(), "signs right, %", "base rate"]
    show.table(headers, rows, caption="Average precision of |coefficient| for the edges of a network of 40 parts")

    def draw(axes: Any) -> None:
        for method, name in METHODS.items():
            axes.plot(sizes, [mean[n, method] for n in sizes], "o-", label=name)
        axes.set_xscale("log")
        axes.set_xlabel("samples")
        axes.set_ylabel("average precision")
        axes.legend()

    show.figure(draw, caption="Edges of a known network found, by sample size", alt="Shrunk partial correlation leads")


def _judge_spurious(records: Records, claim: Ledger, show: Show) -> None:
    mean = {method: records.mean(method) for method in ("raw", "log", "clr", "pcor")}
    source = "abstract; 8 independent parts, one dominating, N = 500"
    claim("independent parts: mean |partial correlation|", mean["pcor"], at_most=0.17, n=records.seeds, source=source)
    claim(
        "independent parts: mean |correlation of proportions|",
        mean["raw"],
        at_least=0.7,
        n=records.seeds,
        source=source,
    )
    rows = [list(mean.values())]
    headers = ["proportions", "log proportions", "log-ratios (clr)", "partial"]
    show.table(headers, rows, caption="Mean |coefficient| of independent parts; 0 would be right")


@paper.invariance(tolerance=1e-10)
def another_reference(generator: torch.Generator) -> tuple[Float[Tensor, "6 6"], Float[Tensor, "6 6"]]:
    """The reference part: log-ratios to any one part give the same partial correlations."""
    X = torch.randn(30, 7, generator=generator, dtype=torch.float64).exp().numpy()
    plain = np.delete(np.delete(_fit(X, None), 3, 0), 3, 1)
    return torch.from_numpy(by_reference(X, 3)), torch.from_numpy(plain)


@paper.invariance(tolerance=1e-10)
def other_totals(generator: torch.Generator) -> tuple[Float[Tensor, "7 7"], Float[Tensor, "7 7"]]:
    """The totals of the rows: every sample in a unit of its own gives the same partial correlations."""
    X = torch.randn(10, 7, generator=generator, dtype=torch.float64).exp()
    totals = torch.randn(10, 1, generator=generator, dtype=torch.float64).mul(3).exp()
    return torch.from_numpy(_fit((X * totals).numpy(), "basis")), torch.from_numpy(_fit(X.numpy(), "basis"))
