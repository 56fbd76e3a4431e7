"""propr's and corpcor's figures for every table that the file holds, in numpy and in torch."""

import numpy as np
import pytest

from normkit.estimators import (
    PartialCorrelation,
    basis_shrinkage_covariance,
    logratio_variance,
    partial_correlation,
    proportionality,
    shrink_covariance,
)
from tests.golden.conftest import Golden

CORRELATION = 1e-10
OTHERS = 1e-9


@pytest.fixture(params=["numpy", "torch"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_without_shrinkage(golden: Golden, backend: str) -> None:
    for case in _cases(golden):
        fitted = _fitted(golden, case, None, backend)
        _near(fitted.partial_correlation_, golden[f"{case}_pcor"])
        _close(fitted.covariance_, golden[f"{case}_clrcov"])
        _close(fitted.precision_, golden[f"{case}_pinv"])
        _close(fitted.partial_variance_, golden[f"{case}_partial_var"])


def test_the_t_test(golden: Golden, backend: str) -> None:
    for case in _cases(golden):
        fitted = _fitted(golden, case, None, backend)
        samples, parts = golden[f"{case}_X"].shape
        if samples < parts:
            assert fitted.p_values_ is None
            assert fitted.degrees_of_freedom_ is None
            continue
        _close(fitted.p_values_, golden[f"{case}_pvalue"])
        assert fitted.degrees_of_freedom_ == int(golden[f"{case}_df"])


def test_shrunk_basis(golden: Golden, backend: str) -> None:
    for case in _cases(golden):
        fitted = _fitted(golden, case, "basis", backend)
        _near(fitted.partial_correlation_, golden[f"{case}_bshrink"])
        _close(fitted.shrinkage_, golden[f"{case}_lambda_b"])
        _close(fitted.variance_shrinkage_, golden[f"{case}_lambda_var"])


def test_the_covariance_of_the_basis(golden: Golden) -> None:
    for case in _cases(golden):
        X = golden[f"{case}_X"]
        covariance, shrinkage, variance_shrinkage = basis_shrinkage_covariance(X)
        _close(covariance, golden[f"{case}_basis_cov_shrink"])
        _close(shrinkage, golden[f"{case}_lambda_b"])
        _close(variance_shrinkage, golden[f"{case}_lambda_var"])
        logs = np.log(X / X.sum(1, keepdims=True))
        _close(shrink_covariance(logs).covariance, golden[f"{case}_basis_cov_shrink"])


def test_shrunk_log_ratios(golden: Golden, backend: str) -> None:
    for case in _cases(golden):
        with pytest.warns(UserWarning, match="depends on the transform"):
            fitted = _fitted(golden, case, "clr", backend)
        _near(fitted.partial_correlation_, golden[f"{case}_shrink"])
        _close(fitted.shrinkage_, golden[f"{case}_lambda_s"])


def test_pairwise_measures(golden: Golden) -> None:
    for case in _cases(golden):
        X, covariance = golden[f"{case}_X"], golden[f"{case}_clrcov"]
        own = np.diag(covariance)
        _near(proportionality(X), golden[f"{case}_rho"])
        _close(logratio_variance(X), own[:, None] + own - 2 * covariance)


def test_the_function_is_the_estimator(golden: Golden) -> None:
    for case in _cases(golden):
        X = golden[f"{case}_X"]
        few = len(X) < 5 * X.shape[1]
        _near(partial_correlation(X), golden[f"{case}_{'bshrink' if few else 'pcor'}"])


def _cases(golden: Golden) -> list[str]:
    return golden.cases(r"(.+)_X")


def _fitted(golden: Golden, case: str, shrinkage: str | None, backend: str) -> PartialCorrelation:
    X = golden[f"{case}_X"]
    estimator = PartialCorrelation(shrinkage=shrinkage, backend=backend)
    if shrinkage is None and len(X) < X.shape[1]:
        with pytest.warns(UserWarning, match="pseudo-inverse"):
            return estimator.fit(X)
    return estimator.fit(X)


def _near(ours: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=CORRELATION)


def _close(ours: object, wanted: np.ndarray) -> None:
    """Relative; an off-diagonal entry of a matrix may be a difference, so rounding of the largest entry is allowed."""
    rounding = 1e-12 * float(np.abs(wanted).max()) if wanted.ndim == 2 else 0.0
    np.testing.assert_allclose(ours, wanted, rtol=OTHERS, atol=rounding)
