"""The Gaussian mechanism's curve against its definition as an integral, and the laws of the integer noise."""

import math

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from normkit.estimators import gaussian_sigma
from normkit.estimators.private import fast_noise
from normkit.estimators.private.calibration import concentrated_sigma, gaussian_delta, rounding_delta
from normkit.estimators.private.noise import add_noise, noise_variance, opendp_measurement
from normkit.estimators.private.scale import Sensitivity, noise_scale


@pytest.mark.parametrize(("epsilon", "ratio"), [(0.1, 5.0), (1.0, 2.0), (4.0, 0.6), (1.0, 4.0)])
def test_delta_is_the_hockey_stick_divergence(epsilon: float, ratio: float) -> None:
    """δ = ∫ max(0, p − e^ε q) of N(1, r²) and N(0, r²)."""

    def excess(x: float) -> float:
        return stats.norm.pdf(x, 1, ratio) - math.exp(epsilon) * stats.norm.pdf(x, 0, ratio)

    start = epsilon * ratio**2 + 0.5  # where the two densities meet
    integral, _ = quad(excess, start, start + 40 * ratio, epsabs=1e-14)
    assert gaussian_delta(epsilon, ratio) == pytest.approx(integral, rel=1e-6)


@pytest.mark.parametrize("epsilon", [1e-3, 0.5, 3, 60.0])
@pytest.mark.parametrize("delta", [1e-15, 1e-6, 0.3])
def test_sigma_is_the_smallest(epsilon: float, delta: float) -> None:
    sigma = gaussian_sigma(epsilon, delta, 2.0)
    assert gaussian_delta(epsilon, sigma / 2) <= delta * (1 + 1e-9)
    assert gaussian_delta(epsilon, sigma / 2 * 0.999) > delta


SMALL = (1e-300, 1e-30, 1e-12, 1e-9, 1e-7, 1e-6, 1e-3, 1.0, 30.0)


def _log_delta(epsilon: float, ratio: float) -> mpmath.mpf:
    """log δ with 400 digits, of which no difference takes all."""

    def normal(x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.erfc(-x / mpmath.sqrt(2)) / 2

    e, r = mpmath.mpf(epsilon), mpmath.mpf(ratio)
    return mpmath.log(normal(1 / (2 * r) - e * r) - mpmath.exp(e) * normal(-1 / (2 * r) - e * r))


@pytest.mark.parametrize("epsilon", SMALL)
@pytest.mark.parametrize("delta", [1e-30, 1e-15, 1e-9, 1e-5, 0.1, 0.9])
def test_sigma_is_private_and_the_smallest_to_nine_digits(epsilon: float, delta: float) -> None:
    """In exact arithmetic, down to an ε whose two terms agree in all digits that float64 has."""
    sigma = gaussian_sigma(epsilon, delta)
    with mpmath.workdps(400):
        assert _log_delta(epsilon, sigma) <= mpmath.log(mpmath.mpf(delta))
        assert _log_delta(epsilon, sigma * (1 - 1e-9)) > mpmath.log(mpmath.mpf(delta))


def test_sigma_falls_with_epsilon_and_with_delta() -> None:
    deltas = (1e-300, 1e-30, 1e-12, 1e-5, 1e-2, 0.5, 0.99)
    sigma = np.array([[gaussian_sigma(epsilon, delta) for delta in deltas] for epsilon in np.logspace(-30, 3, 80)])
    # where ε is next to nothing, δ alone sets σ and the rest is rounding
    assert np.all(sigma[1:] <= sigma[:-1] * (1 + 1e-11))
    assert np.all(np.diff(sigma, axis=1) < 0)
    for epsilon, row in zip(np.logspace(-30, 3, 80), sigma, strict=True):
        for delta, each in zip(deltas, row, strict=True):
            assert each <= concentrated_sigma(epsilon, delta, 1.0)


def test_sigma_beyond_all_numbers_is_infinite() -> None:
    assert math.isinf(gaussian_sigma(5e-324, 5e-324))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1e-5), "epsilon is 0.0: it must be a finite number above 0"),
        ((math.nan, 1e-5), "epsilon is nan"),
        ((1.0, 0.0), "delta is 0.0: it must be a number above 0 and below 1"),
        ((1.0, 1.0), "delta is 1.0"),
        ((1.0, 1e-5, -1.0), "sensitivity is -1.0"),
    ],
)
def test_sigma_names_what_is_out_of_range(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gaussian_sigma(*arguments)


def test_the_concentrated_sigma_is_above_the_exact_one() -> None:
    assert 1.0 < concentrated_sigma(1.0, 1e-5, 1.0) / gaussian_sigma(1.0, 1e-5) < 1.4


@pytest.mark.parametrize("sigma", [2.0, 7.3, 40.0])
def test_the_step_to_the_discrete_law_is_counted_in_full(sigma: float) -> None:
    """Total variation between the discrete Gaussian and the rounded continuous one, by summation."""
    k = np.arange(-int(40 * sigma), int(40 * sigma) + 1)
    discrete = np.exp(-0.5 * (k / sigma) ** 2)
    discrete /= discrete.sum()
    edges = stats.norm.cdf(np.append(k - 0.5, k[-1] + 0.5), scale=sigma)
    apart = 0.5 * np.abs(np.diff(edges) - discrete).sum()
    counted = rounding_delta(0.0, sigma, 1) / 2
    assert 0.2 * counted < apart <= counted


def _sampling_delta(epsilon: float, scale: float, size: int, source: str) -> float:
    """What the fast sampler's distance from the exact law costs; the exact samplers cost nothing."""
    return (1 + math.exp(epsilon)) * fast_noise.error("gaussian", scale, size) if source == "fast" else 0.0


@pytest.mark.parametrize(
    ("epsilon", "delta", "steps", "source"),
    [
        (0.1, 1e-6, 1000, "opendp"),
        (1.0, 1e-6, 1000, "opendp"),
        (1.0, 1e-12, 2**20, "opendp"),
        (5.0, 1e-9, 2**20, "opendp"),
        (8.0, 1e-8, 2**20, "opendp"),
        (0.1, 1e-9, 2**20, "fast"),
        (1.0, 2e-10, 2**20, "fast"),
        (5.0, 1e-8, 2**20, "fast"),
    ],
)
def test_what_the_drawn_law_costs_is_paid_from_delta(epsilon: float, delta: float, steps: int, source: str) -> None:
    """The curve of the continuous law, the step from it to the discrete one, and the sampler, in all at most δ."""
    moved, size = Sensitivity(3.0, 5.0, size=100, steps=steps, touched=100), 100
    scale, spent = noise_scale("gaussian", epsilon, delta, moved, source)
    rounding = (1 + math.exp(epsilon)) * size * 2 * (1 / (24 * scale**2))
    lost = rounding + _sampling_delta(epsilon, scale, size, source)
    assert lost > 1e-5 * delta  # else this would hold without any of it
    assert gaussian_delta(epsilon, scale / moved.l2) + lost <= delta == spent


@pytest.mark.parametrize(
    ("epsilon", "delta", "steps", "source"),
    [
        (0.1, 1e-6, 1, "opendp"),
        (5.0, 1e-3, 1, "opendp"),
        (20.0, 1e-9, 2**20, "opendp"),
        (60.0, 1e-12, 2**20, "opendp"),
        (60.0, 1e-6, 1, "opendp"),
        (1.0, 1e-9, 1, "fast"),
        (5.0, 1e-6, 1, "fast"),
    ],
)
def test_where_the_step_to_the_drawn_law_is_dear_opendp_certifies_it(
    epsilon: float, delta: float, steps: int, source: str
) -> None:
    """OpenDP's own map of the discrete law, from zero-concentrated to approximate privacy."""
    dp = pytest.importorskip("opendp.prelude")
    moved, size = Sensitivity(3.0, 5.0, size=100, steps=steps, touched=0 if steps == 1 else 100), 100
    scale, _ = noise_scale("gaussian", epsilon, delta, moved, source)
    certified = dp.c.make_zCDP_to_approxDP(opendp_measurement("gaussian", scale)).map(moved.l2).delta(epsilon)
    assert certified + _sampling_delta(epsilon, scale, size, source) <= delta
    assert certified > delta / 1e3  # what it asks for is not far more than is needed


@pytest.mark.parametrize("scale", [0.4, 3.7, 900.0])
@pytest.mark.parametrize("source", ["opendp", "fast", "insecure"])
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_noise_has_its_law(mechanism: str, source: str, scale: float) -> None:
    if source == "insecure" and mechanism == "gaussian" and scale < 1:
        pytest.skip("a rounded Gaussian, for tests alone, is not the discrete one at so small a scale")
    size = 8000
    drawn = add_noise(np.full(size, 5, dtype=np.int64), mechanism, scale, source, 0) - 5
    reach = int(60 * scale) + 2
    k = np.arange(-reach, reach + 1)
    law = np.exp(-np.abs(k) / scale) if mechanism == "laplace" else np.exp(-0.5 * (k / scale) ** 2)
    law /= law.sum()
    variance = (law * k**2).sum()
    assert variance <= noise_variance(mechanism, scale) * (1 + 1e-9)
    if mechanism == "laplace" or scale > 1:
        assert variance == pytest.approx(noise_variance(mechanism, scale), rel=1e-6)
    cells = np.unique(np.searchsorted(np.cumsum(law), np.linspace(0, 1, 21)[1:-1]))  # about 20 equal cells
    observed = np.bincount(np.searchsorted(k[cells], drawn), minlength=len(cells) + 1)
    expected = np.add.reduceat(law, np.concatenate(([0], cells + 1))) * size
    chi_square = ((observed - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(chi_square, len(cells)) > 1e-7
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 6 / math.sqrt(size)


@pytest.mark.parametrize("scale", [0.3, 15.0, 1e7])
def test_digits_of_the_fast_sampler_are_a_geometric_law(scale: float) -> None:
    """The product of the digits' probabilities is e^{−k/t}(1 − e^{−1/t}) for every k."""
    thresholds = fast_noise._thresholds(scale)
    ones = np.array([threshold / 2**63 for threshold in thresholds])
    for k in (0, 1, 2, 5, 11, 3 * int(scale)):
        if k >= 2 ** len(ones):
            continue
        digits = (k >> np.arange(len(ones))) & 1
        product = np.prod(np.where(digits, ones, 1 - ones))
        assert product == pytest.approx(math.exp(-k / scale) * -math.expm1(-1 / scale), rel=1e-9, abs=1e-18)


def test_the_fast_samplers_error_is_small_and_counted() -> None:
    assert 0 < fast_noise.error("laplace", 1e7, 1000) < 1e-13
    assert 0 < fast_noise.error("gaussian", 1e7, 1000) < 1e-9


def test_opendp_certifies_the_scale() -> None:
    assert opendp_measurement("laplace", 30.0).map(15) == pytest.approx(0.5)
    assert opendp_measurement("gaussian", 30.0).map(15.0) == pytest.approx(0.125)


def test_nothing_is_drawn_from_numpy_where_noise_is_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("numpy's generator was asked for secret noise")

    monkeypatch.setattr(np.random, "default_rng", forbidden)
    for source in ("opendp", "fast"):
        for mechanism in ("laplace", "gaussian"):
            state = np.random.get_state()[1].copy()
            add_noise(np.zeros(10, dtype=np.int64), mechanism, 5.0, source)
            np.testing.assert_array_equal(np.random.get_state()[1], state)
