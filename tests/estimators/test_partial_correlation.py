"""PartialCorrelation: what it means, what it is blind to, its paths, tests, edges, frames and refusals."""

import re
import warnings
from contextlib import nullcontext

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import sparse, stats

from normkit import data
from normkit.estimators import (
    PartialCorrelation,
    alr,
    basis_shrinkage_covariance,
    closure,
    clr,
    clr_inv,
    logratio_variance,
    partial_correlation,
    proportionality,
    replace_zeros,
    shrink_covariance,
)
from normkit.estimators._precision import Precision, shrunk_precision
from normkit.estimators.shrinkage import shrink_columns

COLUMNS = ["Si", "Al", "Fe", "Mg", "Ca", "Na"]


def table(samples: int, parts: int, seed: int = 0) -> np.ndarray:
    """Correlated log-normal amounts."""
    draw = np.random.default_rng(seed)
    mixing = np.eye(parts) + 0.3 * draw.normal(size=(parts, parts))
    return np.exp(draw.normal(size=(samples, parts)) @ mixing + draw.normal(size=parts))


X = table(60, 6)
FRAME = pd.DataFrame(X, columns=COLUMNS)


def residual_correlation(reference: int, i: int, j: int) -> float:
    """By regression: what the other log-ratios to the reference leave of two of them."""
    others = [k for k in range(6) if k not in (reference, i, j)]
    logs = np.log(X / X[:, [reference]])
    logs = logs - logs.mean(0)
    left = logs[:, [i, j]] - logs[:, others] @ np.linalg.lstsq(logs[:, others], logs[:, [i, j]])[0]
    return float(np.corrcoef(left.T)[0, 1])


def test_it_is_the_correlation_of_residuals_for_every_reference() -> None:
    ours = partial_correlation(X, shrinkage=None)
    for reference in (0, 4, 5):
        assert residual_correlation(reference, 1, 2) == pytest.approx(ours[1, 2], abs=1e-12)
        assert residual_correlation(reference, 1, 3) == pytest.approx(ours[1, 3], abs=1e-12)


def test_every_reference_gives_the_same_precision() -> None:
    P = PartialCorrelation(shrinkage=None).fit(X).get_precision()
    np.testing.assert_allclose(P.sum(1), 0, atol=1e-10)
    for reference in range(6):
        kept = np.delete(np.arange(6), reference)
        inverse = np.linalg.inv(np.cov(alr(X, reference), rowvar=False))
        np.testing.assert_allclose(inverse, P[np.ix_(kept, kept)], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shrinkage", [None, "basis", 0.3])
def test_row_totals_and_units_mean_nothing(shrinkage: float | str | None) -> None:
    draw = np.random.default_rng(5)
    plain = PartialCorrelation(shrinkage=shrinkage).fit(X)
    scaled = PartialCorrelation(shrinkage=shrinkage).fit(X * draw.lognormal(size=(60, 1)))
    np.testing.assert_allclose(scaled.partial_correlation_, plain.partial_correlation_, atol=1e-10)


def test_the_order_of_parts_and_samples_means_nothing() -> None:
    order, rows = [3, 1, 5, 0, 2, 4], np.random.default_rng(0).permutation(60)
    wanted = partial_correlation(X, shrinkage="basis")[np.ix_(order, order)]
    np.testing.assert_allclose(partial_correlation(X[rows][:, order], shrinkage="basis"), wanted, atol=1e-12)


def test_partial_variance_and_multiple_correlation() -> None:
    fitted = PartialCorrelation(shrinkage=None).fit(FRAME)
    logs = alr(X, 5)
    logs = logs - logs.mean(0)
    left = logs[:, 0] - logs[:, 1:] @ np.linalg.lstsq(logs[:, 1:], logs[:, 0])[0]
    assert fitted.partial_variance_[0] == pytest.approx((left**2).sum() / 59)
    wanted = 1 - (left**2).sum() / (logs[:, 0] ** 2).sum()
    for reference in ("Na", 5, -1):
        assert fitted.multiple_correlation(reference)[0] == pytest.approx(wanted)
        assert np.isnan(fitted.multiple_correlation(reference)[5])
    z = clr(X)
    np.testing.assert_allclose(
        fitted.multiple_correlation(), 1 - fitted.partial_variance_ / z.var(0, ddof=1), rtol=1e-10
    )
    with pytest.raises(ValueError, match=r"reference is 'Pb'.*such as 'Si'"):
        fitted.multiple_correlation("Pb")


def test_auto_shrinks_where_samples_are_few() -> None:
    assert PartialCorrelation().fit(X).shrinkage_ == 0
    assert PartialCorrelation().fit(X[:29]).shrinkage_ > 0


def test_a_number_is_the_intensity_of_the_correlations() -> None:
    estimated = PartialCorrelation(shrinkage="basis").fit(X)
    given = PartialCorrelation(shrinkage=estimated.shrinkage_).fit(X)
    np.testing.assert_allclose(given.partial_correlation_, estimated.partial_correlation_, atol=1e-13)
    assert given.variance_shrinkage_ == estimated.variance_shrinkage_
    for whole in (1, 1.0):
        assert PartialCorrelation(shrinkage=whole).fit(X).shrinkage_ == 1


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
def test_the_factored_path_is_the_dense_one(shape: tuple[int, int], backend: str) -> None:
    amounts = table(*shape)
    fitted = PartialCorrelation(shrinkage="basis", backend=backend).fit(amounts)
    inverse = np.linalg.inv(basis_shrinkage_covariance(amounts).covariance)
    total = inverse.sum(1)
    P = inverse - np.outer(total, total) / total.sum()
    np.testing.assert_allclose(fitted.precision_, P, rtol=1e-10, atol=1e-10 * np.abs(P).max())
    scale = np.sqrt(np.diag(P))
    wanted = -P / np.outer(scale, scale)
    np.fill_diagonal(wanted, 1)
    np.testing.assert_allclose(fitted.partial_correlation_, wanted, atol=1e-10)
    centre = np.eye(shape[1]) - 1 / shape[1]
    np.testing.assert_allclose(
        fitted.covariance_, centre @ basis_shrinkage_covariance(amounts).covariance @ centre, atol=1e-12
    )


def test_a_singular_basis_is_pseudo_inverted() -> None:
    amounts = table(8, 12)
    for few in (amounts, amounts[:, :5]):
        told = pytest.warns(UserWarning, match="8 samples cannot determine 12") if few is amounts else nullcontext()
        with told:
            fitted = PartialCorrelation(shrinkage=0.0).fit(few)
        wanted = np.linalg.pinv(fitted.covariance_, rtol=1e-12, hermitian=True)
        np.testing.assert_allclose(fitted.precision_, wanted, rtol=1e-6, atol=1e-8 * np.abs(wanted).max())


def test_a_shrunk_basis_with_a_constant_column() -> None:
    logs = np.random.default_rng(0).normal(size=(10, 15))
    logs[:, 3] = 1.0
    columns = shrink_columns(logs)
    wanted = np.linalg.inv(columns.covariance())
    np.testing.assert_allclose(shrunk_precision(columns, centred=False).dense(), wanted, atol=1e-9)
    total = wanted.sum(1)
    centred = wanted - np.outer(total, total) / total.sum()
    np.testing.assert_allclose(shrunk_precision(columns, centred=True).dense(), centred, atol=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(("shape", "shrinkage"), [((20, 90), "basis"), ((60, 10), None), ((40, 10), "basis")])
def test_a_cutoff_keeps_what_the_dense_matrix_holds(
    shape: tuple[int, int], shrinkage: str | None, backend: str
) -> None:
    amounts = table(*shape)
    dense = PartialCorrelation(shrinkage=shrinkage).fit(amounts)
    cutoff = float(np.median(np.abs(dense.partial_correlation_)))
    few = PartialCorrelation(shrinkage=shrinkage, cutoff=cutoff, backend=backend).fit(amounts)
    assert sparse.issparse(few.partial_correlation_)
    kept = np.abs(dense.partial_correlation_) >= cutoff
    np.testing.assert_allclose(
        few.partial_correlation_.toarray(), np.where(kept, dense.partial_correlation_, 0), atol=1e-12
    )
    np.testing.assert_allclose(few.precision_.toarray(), np.where(kept, dense.precision_, 0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(few.partial_variance_, dense.partial_variance_, rtol=1e-10)
    assert not hasattr(few, "covariance_")
    assert not hasattr(dense.set_params(cutoff=cutoff).fit(amounts), "covariance_")
    dense.set_params(cutoff=None).fit(amounts)
    for call in (lambda: few.score(amounts), few.multiple_correlation):
        with pytest.raises(ValueError, match="fit with cutoff=None"):
            call()
    assert few.to_frame().shape == (shape[1], shape[1])
    wanted = dense.edges(1.1 * cutoff)
    compared = [name for name in wanted.columns if name != "p_adjusted"]
    assert len(wanted)
    pd.testing.assert_frame_equal(few.edges(1.1 * cutoff)[compared], wanted[compared])


def test_blocks_of_rows_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    precision = Precision(draw.uniform(5, 6, 300), 0.1 * draw.normal(size=(7, 300)), -1)
    whole = precision.correlation()
    monkeypatch.setattr("normkit.estimators._precision._BLOCK", 1)
    assert len(list(precision.correlation_blocks())) == 5
    np.testing.assert_allclose(precision.correlation(), whole, atol=1e-15)
    P = precision.dense()
    wanted = -P / np.sqrt(np.outer(np.diag(P), np.diag(P))) + 2 * np.eye(300)
    np.testing.assert_allclose(whole, wanted, atol=1e-13)
    np.testing.assert_array_equal(whole, whole.T)


def test_p_values_are_uniform_where_nothing_is_shared() -> None:
    """Independent residuals by construction: log-ratios to the last part, independent, given nothing else."""
    draw = np.random.default_rng(0)
    p = []
    for _ in range(400):
        logs = np.column_stack([draw.normal(size=(15, 4)), np.zeros(15)])
        p.append(PartialCorrelation(shrinkage=None).fit(np.exp(logs)).p_values_[0, 1])
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_edges_after_benjamini_and_hochberg() -> None:
    fitted = PartialCorrelation(shrinkage=None).fit(FRAME)
    upper = np.triu_indices(6, 1)
    p = fitted.p_values_[upper]
    wanted = stats.false_discovery_control(p)
    edges = fitted.edges()
    assert len(edges) == (wanted <= 0.05).sum() > 0
    np.testing.assert_allclose(np.sort(edges["p_adjusted"]), np.sort(wanted[wanted <= 0.05]))
    strengths = edges["partial_correlation"].abs().to_numpy()
    assert (np.diff(strengths) <= 0).all()
    first = edges.iloc[0]
    assert fitted.to_frame().loc[first["part"], first["other"]] == first["partial_correlation"]
    assert len(fitted.edges(0.0)) == 15


def chained(seed: int) -> np.ndarray:
    """Twelve parts of which the first four depend on each other."""
    draw = np.random.default_rng(seed)
    logs = draw.normal(size=(40, 12))
    logs[:, 1] += 2 * logs[:, 0]
    logs[:, 3] += 2 * logs[:, 2]
    return np.exp(logs)


def test_edges_by_permutation() -> None:
    fitted = PartialCorrelation(shrinkage="basis", n_permutations=30, random_state=0).fit(chained(0))
    edges = fitted.edges()
    assert {(row.part, row.other) for row in edges.itertuples()} >= {("x0", "x1"), ("x2", "x3")}
    assert len(edges) <= 4
    assert (edges["partial_correlation"].abs() >= fitted.fdr_cutoff_).all()
    assert (edges["fdr"] <= 0.05).all()
    assert edges["fdr"].is_monotonic_increasing
    sparse_fit = PartialCorrelation(shrinkage="basis", n_permutations=30, random_state=0, cutoff=0.2).fit(chained(0))
    assert sparse_fit.fdr_cutoff_ == pytest.approx(fitted.fdr_cutoff_)
    with joblib.parallel_config("threading"):
        again = PartialCorrelation(shrinkage="basis", n_permutations=30, random_state=0, n_jobs=2).fit(chained(0))
    assert again.fdr_cutoff_ == fitted.fdr_cutoff_


def test_no_edge_where_nothing_is_shared() -> None:
    amounts = np.exp(np.random.default_rng(3).normal(size=(30, 12)))
    fitted = PartialCorrelation(shrinkage="basis", n_permutations=30, random_state=0).fit(amounts)
    assert len(fitted.edges()) <= 1
    strongest = fitted.edges(0.0)["partial_correlation"].abs().max()
    with pytest.warns(UserWarning, match=rf"no pair reaches \|ρ\| ≥ 1.0, the strongest is {strongest:.2g}:"):
        none = PartialCorrelation(cutoff=1.0, n_permutations=2, random_state=0).fit(amounts)
    assert none.fdr_cutoff_ == np.inf
    assert len(none.edges()) == 0


def test_without_a_test_edges_need_a_bound() -> None:
    fitted = PartialCorrelation(shrinkage="basis").fit(X)
    assert fitted.p_values_ is None
    strongest = fitted.edges(0.0)["partial_correlation"].abs().max()
    with pytest.raises(ValueError, match=rf"permutations=100, or pass edges\(cutoff=.* strongest is {strongest:.2g}$"):
        fitted.edges()
    assert "p_value" not in fitted.edges(0.1)


def test_no_unit_is_too_large_or_too_small() -> None:
    np.testing.assert_allclose(closure([[1e308, 1e308, 1e308]]), 1 / 3)
    wanted = partial_correlation(X, shrinkage="basis")
    for unit in (1e306, 1e-306):
        np.testing.assert_allclose(partial_correlation(X * unit, shrinkage="basis"), wanted, atol=1e-9)
    wide = X * [1e-200, 1e200, 1, 1, 1, 1]
    assert np.isfinite(partial_correlation(wide, shrinkage="basis")).all()


def test_variances_that_all_count_as_0_are_told() -> None:
    draw = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.warns(UserWarning, match="every variance is below 2.2e-16"):
        assert not shrink_covariance(1e-9 * draw).covariance.any()


@pytest.mark.parametrize("rule", ["min", "multiplicative"])
def test_a_row_without_parts_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="only zeros"):
        replace_zeros([[1.0, 2.0], [0.0, 0.0]], rule)


def test_no_edges_below_what_was_kept() -> None:
    fitted = PartialCorrelation(cutoff=0.2).fit(X)
    assert len(fitted.edges(0.2))
    with pytest.raises(ValueError, match=r"edges\(cutoff=0.1\): fit kept only \|ρ\| ≥ 0.2"):
        fitted.edges(0.1)


def test_score_is_the_likelihood_of_the_log_ratios() -> None:
    for shrinkage in (None, "basis"):
        fitted = PartialCorrelation(shrinkage=shrinkage).fit(FRAME)
        logs = alr(X, 2)  # the same density up to the constant Jacobian √D of alr
        inverse = np.delete(np.delete(fitted.precision_, 2, 0), 2, 1)
        law = stats.multivariate_normal(logs.mean(0), np.linalg.inv(inverse))
        assert fitted.score(FRAME) == pytest.approx(law.logpdf(logs).mean() + 0.5 * np.log(6))


def test_score_of_a_singular_covariance_is_refused() -> None:
    with pytest.warns(UserWarning, match="5 samples cannot determine 6 parts: a pseudo-inverse .* p-values are"):
        fitted = PartialCorrelation(shrinkage=None).fit(X[:5])
    assert fitted.p_values_ is None
    assert fitted.degrees_of_freedom_ is None
    with pytest.raises(ValueError, match='no inverse: fit with shrinkage="basis"'):
        fitted.score(X)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("seed", range(25))
def test_a_part_that_never_varies(seed: int, backend: str) -> None:
    amounts = table(30, 4, seed)
    amounts[:, 3] = np.exp(np.log(amounts[:, :3]).mean(1))  # the geometric mean of the others: its clr is 0
    with pytest.warns(UserWarning, match="nothing varies in the centred log-ratio of x3: its correlations are 0"):
        fitted = PartialCorrelation(shrinkage=None, backend=backend).fit(amounts)
    np.testing.assert_array_equal(fitted.partial_correlation_[3], [0, 0, 0, 1])
    assert np.isnan(fitted.partial_variance_[3])
    assert np.isnan(fitted.multiple_correlation()[3])
    others = PartialCorrelation(shrinkage=None).fit(amounts[:, :3])
    np.testing.assert_allclose(fitted.partial_correlation_[:3, :3], others.partial_correlation_, atol=1e-9)
    assert fitted.degrees_of_freedom_ == others.degrees_of_freedom_ == 28


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("seed", range(5))
def test_dependent_parts_are_named_and_not_tested(seed: int, backend: str) -> None:
    ties = {
        (1, 4): lambda x: 2 * x[:, 1],
        (0, 1, 2, 4): lambda x: x[:, 0] * x[:, 1] / x[:, 2],
        (0, 3, 4): lambda x: np.sqrt(x[:, 0] * x[:, 3]),
    }
    for tied, tie in ties.items():
        amounts = table(80, 8, seed)
        amounts[:, 4] = tie(amounts)
        names = ", ".join(f"x{place}" for place in tied)
        with pytest.warns(UserWarning, match=f"ties {names} to each other .* NaN and p-values are withheld"):
            fitted = PartialCorrelation(shrinkage=None, backend=backend).fit(amounts)
        assert fitted.degrees_of_freedom_ is None
        assert fitted.p_values_ is None
        free = np.setdiff1d(np.arange(8), tied)
        assert np.isnan(fitted.partial_correlation_[list(tied)]).sum() == 7 * len(tied)
        assert (fitted.partial_variance_[list(tied)] == 0).all()
        assert fitted.multiple_correlation()[list(tied)] == pytest.approx(1)
        without = partial_correlation(np.delete(amounts, 4, 1), shrinkage=None)
        places = free - (free > 4)
        np.testing.assert_allclose(
            fitted.partial_correlation_[np.ix_(free, free)], without[np.ix_(places, places)], atol=1e-9
        )
        assert not set(tied) & {int(name[1:]) for name in fitted.edges(0.0)[["part", "other"]].to_numpy().ravel()}
        with pytest.warns(UserWarning, match="NaN"):
            few = PartialCorrelation(shrinkage=None, cutoff=0.01, backend=backend).fit(amounts).edges(0.01)
        pd.testing.assert_frame_equal(few, fitted.edges(0.01), check_exact=False)
        fitted.heat_map(Figure().subplots())


def test_zeros_are_named_or_replaced() -> None:
    frame = FRAME.copy()
    frame.loc[3, ["Fe", "Na"]] = 0
    with pytest.raises(ValueError, match="zeros in Fe, Na, and a zero has no logarithm"):
        PartialCorrelation().fit(frame)
    found = [PartialCorrelation(zeros=rule).fit(frame).partial_correlation_ for rule in ("min", "multiplicative", 0.5)]
    assert not np.allclose(found[0], found[1])
    assert not np.allclose(found[1], found[2])


NONE_OF = {
    "shrinkage": ("ledoit", 1.5, -0.1, True, float("nan"), [0.5], np.zeros(3), object()),
    "zeros": ("drop", None, True, 0, -1.0, float("nan"), float("inf"), [1.0], np.ones(3)),
    "fdr": ("x", None, True, 0.0, 1, float("nan"), [0.05], np.full(2, 0.1)),
    "n_permutations": ("x", None, True, 2.5, 10.0, -1, float("nan"), [10]),
    "cutoff": ("x", True, 0, 1.5, -0.1, float("nan"), [0.1], np.full(2, 0.1)),
    "n_jobs": ("x", True, 0, 2.5, [2]),
    "random_state": ("x", -1, 2.5, [0.5]),
    "backend": ("jax", None, True, 1, ["numpy"]),
    "device": ("cpu", 0),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NONE_OF.items() for value in values])
def test_options_that_are_none(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{name} is {value!r}")):
        PartialCorrelation(**{name: value}).fit(X)
    assert NONE_OF.keys() == PartialCorrelation().get_params().keys()


@pytest.mark.parametrize("device", ["x", True, 2.5, ["cpu"], "cuda:99"])
def test_devices_that_torch_does_not_have(device: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"device is {device!r}")):
        PartialCorrelation(backend="torch", device=device).fit(X)


@pytest.mark.parametrize("cutoff", ["x", True, -0.1, 1.5, float("nan"), [0.2]])
def test_bounds_of_edges_that_are_none(cutoff: object) -> None:
    for call in (PartialCorrelation().fit(X).edges, PartialCorrelation(cutoff=0.1).fit(X).edges):
        with pytest.raises(ValueError, match=re.escape(f"cutoff is {cutoff!r}: it must be an absolute correlation")):
            call(cutoff)


def test_tables_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Negative values in data, Si, Al: .*not log-ratios"):
        PartialCorrelation().fit(FRAME.assign(Si=-1.0, Al=-2.0))
    with pytest.raises(ValueError, match=r"2 feature\(s\).*minimum of 3"):
        PartialCorrelation().fit(X[:, :2])
    with pytest.raises(ValueError, match=r"2 sample\(s\).*minimum of 3"):
        PartialCorrelation().fit(X[:2])
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        PartialCorrelation().fit(sparse.csr_array(X))
    with pytest.raises(ValueError, match=r"no numbers in site: .*table\.set_index"):
        PartialCorrelation().fit(FRAME.assign(site="east"))
    gaps = FRAME.copy()
    gaps.loc[[3, 7], "Al"], gaps.loc[7, "Na"] = np.nan, np.nan
    with pytest.raises(ValueError, match=r"contains NaN in Al, Na \(2 of 60 rows\): .*dropna"):
        PartialCorrelation().fit(gaps)
    with pytest.raises(ValueError, match=r"contains infinity in x1 \(1 of 60 rows\)"):
        PartialCorrelation().fit(np.where(X[0, 1] == X, np.inf, X))


def test_pictures() -> None:
    from matplotlib import pyplot

    fitted = PartialCorrelation(shrinkage=None).fit(FRAME)
    axes = fitted.heat_map()
    assert {label.get_text() for label in axes.get_xticklabels()} == set(COLUMNS)
    strengths = np.sort(np.abs(partial_correlation(table(30, 70)))[np.triu_indices(70, 1)])
    cutoff = float(strengths[-12])
    wide = PartialCorrelation(cutoff=cutoff).fit(table(30, 70))
    edges = wide.edges(cutoff)
    named = {*edges["part"], *edges["other"]}
    assert 2 <= len(named) < 60
    assert {label.get_text() for label in wide.heat_map().get_xticklabels()} == named
    graph = wide.graph(cutoff=cutoff)
    assert {text.get_text() for text in graph.texts} == named
    assert graph.get_title(loc="left") == f"{70 - len(named)} parts without an edge are not drawn"
    with pytest.warns(UserWarning, match="no pair reaches"):
        none = PartialCorrelation(cutoff=1.0).fit(X)
    with pytest.raises(ValueError, match=r"0 parts to draw: a heat map is for 2 to 2000"):
        none.heat_map()
    axes = fitted.graph()
    assert len(axes.lines) == len(fitted.edges())
    assert len(fitted.graph(cutoff=0.99).lines) == 0
    pyplot.close("all")


def test_the_heat_map_is_symmetrical_marks_the_edges_and_hides_the_diagonal() -> None:
    fitted = PartialCorrelation(shrinkage=None).fit(FRAME)
    axes = fitted.heat_map(Figure().subplots())
    image = axes.images[0]
    strongest = np.abs(fitted.partial_correlation_[np.triu_indices(6, 1)]).max()
    assert image.norm.vmin == -image.norm.vmax
    assert strongest <= image.norm.vmax < strongest + 0.1
    drawn = image.get_array()
    assert np.ma.getmaskarray(drawn).diagonal().all() or np.isnan(drawn).diagonal().all()
    assert np.isfinite(fitted.partial_correlation_).all()  # the fit itself is left as it is
    order = [COLUMNS.index(label.get_text()) for label in axes.get_yticklabels()]
    dots = {(COLUMNS[order[round(y)]], COLUMNS[order[round(x)]]) for x, y in axes.collections[0].get_offsets()}
    wanted = set(zip(*fitted.edges()[["part", "other"]].to_numpy().T, strict=True))
    assert dots == wanted | {(other, part) for part, other in wanted}
    assert axes.get_title(loc="left") == f"dots: {len(wanted)} edges at a false discovery rate of 0.05"
    small = fitted.heat_map(Figure(figsize=(0.5, 0.5)).subplots())
    assert small.get_title(loc="left").startswith("rings")
    assert not fitted.heat_map(Figure().subplots(), edges=False).collections
    shrunk = PartialCorrelation(shrinkage="basis").fit(FRAME)
    assert not shrunk.heat_map(Figure().subplots()).collections
    with pytest.raises(ValueError, match="no t-test"):
        shrunk.heat_map(Figure().subplots(), edges=True)


def test_names_are_readable_or_left_out() -> None:
    lineage = [f"k__Bacteria;p__Firmicutes;c__Clostridia;f__Lachnospiraceae;g__Genus{i}" for i in range(200)]
    for parts, named in ((4, True), (30, True), (200, False)):
        frame = pd.DataFrame(table(20, parts), columns=lineage[:parts])
        fitted = PartialCorrelation().fit(frame)
        axes = fitted.heat_map()
        labels = axes.get_yticklabels()
        assert bool(labels) == named
        for label in labels:
            assert len(label.get_text()) <= 32
            assert "Genus" in label.get_text()
            assert label.get_fontsize() >= 4.5
        if not named:
            assert axes.get_xlabel() == "200 parts, in the order of a clustering"
        strengths = np.sort(np.abs(fitted.partial_correlation_[np.triu_indices(parts, 1)]))
        axes = fitted.graph(cutoff=strengths[-min(100, len(strengths))])
        axes.figure.draw_without_rendering()
        page = axes.figure.bbox
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) >= min(parts, 30)
        for box in boxes:  # no name runs off the page
            assert page.x0 <= box.x0
            assert box.x1 <= page.x1
            assert page.y0 <= box.y0
            assert box.y1 <= page.y1
    from matplotlib import pyplot

    pyplot.close("all")


def test_a_picture_comes_out_the_same() -> None:
    fitted = PartialCorrelation().fit(table(30, 40))
    for draw in (lambda axes: fitted.heat_map(axes), lambda axes: fitted.graph(axes, 0.15)):
        pages = []
        for _ in range(2):
            figure = Figure()
            draw(figure.subplots())
            page = FigureCanvasAgg(figure)
            page.draw()
            pages.append(bytes(page.buffer_rgba()))
        assert pages[0] == pages[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shrinkage", [None, "basis"])
def test_a_gpu_gives_the_same(shrinkage: str | None) -> None:
    for amounts in (table(60, 6), table(60, 200) if shrinkage else table(200, 60)):
        wanted = PartialCorrelation(shrinkage=shrinkage).fit(amounts)
        found = PartialCorrelation(shrinkage=shrinkage, backend="torch", device="cuda").fit(amounts)
        np.testing.assert_allclose(found.partial_correlation_, wanted.partial_correlation_, atol=1e-10)
        np.testing.assert_allclose(found.covariance_, wanted.covariance_, atol=1e-10)


def test_nothing_is_warned_of_without_need() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PartialCorrelation().fit(X)
        PartialCorrelation().fit(X[:10])


def test_a_stronger_pair_never_has_the_larger_rate() -> None:
    """FDR(c) itself rises again where one permuted pair meets the last two observed ones."""
    amounts = np.exp(np.random.default_rng(7).normal(size=(30, 12)))
    for seed in range(5):
        every = PartialCorrelation(shrinkage="basis", n_permutations=10, random_state=seed).fit(amounts).edges(0.0)
        assert every["fdr"].is_monotonic_increasing


@pytest.mark.parametrize("samples", [100, 200])
def test_few_edges_by_permutation_are_false(samples: int) -> None:
    """Of all edges of six known networks; λ estimated anew on each permuted table made 0.86 of them false."""
    false = edges = 0
    for seed in range(6):
        amounts, precision = data.network_compositions(samples, 40, seed=seed)
        fitted = PartialCorrelation(shrinkage="basis", n_permutations=10, random_state=0).fit(amounts)
        found = fitted.edges()
        places = [found[name].str[1:].astype(int) for name in ("part", "other")]
        false += int((precision[places[0], places[1]] == 0).sum())
        edges += len(found)
    assert edges > 0
    assert false <= 0.1 * edges


NAMES = (
    list("abcdef"),
    [3, 1, 4, 0, 5, 9],
    [("top", each) for each in "abcdef"],
    ["é", "it's", 'a "b"', "x y", "0", "漢"],
)


@pytest.mark.parametrize("names", NAMES, ids=["strings", "numbers", "levels", "odd"])
def test_a_frame_comes_back_with_its_names(names: list[object]) -> None:
    frame = pd.DataFrame(X, columns=names, index=[f"s{row}" for row in range(60)])
    fitted = PartialCorrelation(shrinkage=None).fit(frame)
    square = [
        (partial_correlation(frame, None), fitted.partial_correlation_),
        (fitted.to_frame(), fitted.partial_correlation_),
        (fitted.to_frame("precision"), fitted.precision_),
        (fitted.to_frame("covariance"), fitted.covariance_),
        (fitted.to_frame("p_value"), fitted.p_values_),
        (proportionality(frame, "phi"), proportionality(X, "phi")),
        (logratio_variance(frame), logratio_variance(X)),
        (shrink_covariance(frame).covariance, shrink_covariance(X).covariance),
        (basis_shrinkage_covariance(frame).covariance, basis_shrinkage_covariance(X).covariance),
    ]
    for found, wanted in square:
        assert list(found.index) == list(found.columns) == names
        np.testing.assert_allclose(found.to_numpy(), wanted, rtol=1e-12, atol=1e-14)
    for found, wanted in (
        (closure(frame), closure(X)),
        (clr(frame), clr(X)),
        (clr_inv(clr(frame)), clr_inv(clr(X))),
        (replace_zeros(frame, 0.5), X + 0.5),
    ):
        pd.testing.assert_frame_equal(found, pd.DataFrame(wanted, index=frame.index, columns=frame.columns))
    edges = fitted.edges(0.0)
    assert {*edges["part"]} | {*edges["other"]} == set(names)
    sparse_fit = PartialCorrelation(cutoff=0.1).fit(frame)
    assert list(sparse_fit.to_frame().columns) == names
    with pytest.raises(ValueError, match=re.escape(f"zeros in {names[2]}, and a zero")):
        partial_correlation(frame.mask(np.arange(6)[None] + 0 * X == 2, 0.0))
    assert isinstance(partial_correlation(X), np.ndarray)
    assert list(fitted.fit(X).to_frame().columns) == [f"x{place}" for place in range(6)]


def test_a_sparse_frame_of_counts() -> None:
    counts = pd.DataFrame(np.random.default_rng(0).poisson(1.0, (40, 6)), columns=COLUMNS)
    few = counts.astype(pd.SparseDtype("int64", 0))
    pd.testing.assert_frame_equal(partial_correlation(few, zeros=0.5), partial_correlation(counts, zeros=0.5))


def test_frames_of_what_a_fit_does_not_have() -> None:
    for fitted, figure, why in (
        (PartialCorrelation().fit(X), "ρ", "figure is 'ρ': it must be one of 'partial_correlation'"),
        (PartialCorrelation(shrinkage="basis").fit(X), "p_value", "shrunk correlations have no t-test"),
        (PartialCorrelation(cutoff=0.1).fit(X), "p_value", r"edges\(\) gives theirs"),
        (PartialCorrelation(cutoff=0.1).fit(X), "covariance", "fit with cutoff=None"),
    ):
        with pytest.raises(ValueError, match=why):
            fitted.to_frame(figure)


@pytest.mark.parametrize("strongest", [3, 8, 40])
def test_all_pairs_count_as_tests_where_some_are_kept(strongest: int) -> None:
    """m is D(D − 1)/2 whatever `cutoff` leaves out: never an edge more than with all, none fewer where it is low."""
    amounts = chained(0)
    dense = PartialCorrelation(shrinkage=None).fit(amounts)
    every = dense.edges(0.0)
    cutoff = every["partial_correlation"].abs().iloc[strongest - 1] - 1e-9
    few = PartialCorrelation(shrinkage=None, cutoff=cutoff).fit(amounts)
    kept = few.edges(cutoff)
    assert len(kept) == strongest
    np.testing.assert_allclose(kept["p_value"], every["p_value"][:strongest], rtol=1e-9)
    ranks = np.arange(1, strongest + 1)
    wanted = np.minimum.accumulate((kept["p_value"].to_numpy() * 66 / ranks)[::-1])[::-1].clip(max=1)  # 12·11/2 tests
    np.testing.assert_allclose(kept["p_adjusted"], wanted)
    assert (kept["p_adjusted"].to_numpy() >= every["p_adjusted"].to_numpy()[:strongest] - 1e-12).all()
    chosen = dense.edges()
    low = cutoff < chosen["partial_correlation"].abs().min()
    if low:
        pd.testing.assert_frame_equal(few.edges()[["part", "other"]], chosen[["part", "other"]])
    else:
        with pytest.warns(UserWarning, match=f"all {strongest} pairs of .* pass the test, so weaker ones may"):
            assert len(few.edges()) == strongest < len(chosen)


def test_parts_that_are_tied_are_told_without_intensity_too() -> None:
    """shrinkage=0.0 shrinks no correlation: a duplicate makes Γ as singular as without shrinkage."""
    amounts = np.column_stack([X, 2 * X[:, 1]])
    for cutoff in (None, 0.05):
        with pytest.warns(UserWarning, match="ties x1, x6 to each other in every sample .* their correlations are NaN"):
            fitted = PartialCorrelation(shrinkage=0.0, cutoff=cutoff).fit(amounts)
        assert fitted.p_values_ is None
        assert (fitted.partial_variance_[[1, 6]] == 0).all()
        ends = fitted.edges(0.05)[["part", "other"]].to_numpy().ravel()
        assert not {"x1", "x6"} & set(ends)
    fitted = PartialCorrelation(shrinkage=0.0).fit(X)
    assert np.isfinite(fitted.partial_correlation_).all()
    wanted = np.linalg.pinv(fitted.covariance_, hermitian=True)
    np.testing.assert_allclose(fitted.precision_, wanted, rtol=1e-8, atol=1e-10 * np.abs(wanted).max())


def test_a_column_of_zeros_is_told() -> None:
    with pytest.warns(UserWarning, match="nothing but zeros in Fe, Na: .* leave such columns out"):
        PartialCorrelation(shrinkage="basis", zeros="multiplicative").fit(FRAME.assign(Fe=0.0, Na=0.0))


def test_the_multiple_correlation_of_log_ratios_may_be_negative_a_little() -> None:
    """To a reference R² lies in [0, 1]; the centred one reaches down to 1 − (D/(D − 1))², where nothing is shared."""
    lowest = 1 - (6 / 5) ** 2
    for shrinkage in (None, "basis", 1.0):
        fitted = PartialCorrelation(shrinkage=shrinkage).fit(X)
        assert (fitted.multiple_correlation() >= lowest - 1e-12).all()
        others = np.delete(fitted.multiple_correlation(2), 2)
        assert ((others >= -1e-12) & (others <= 1)).all()
    alone = PartialCorrelation(shrinkage=None).fit(np.exp(np.random.default_rng(0).normal(size=(4000, 6))))
    assert (alone.multiple_correlation() < 0).all()
