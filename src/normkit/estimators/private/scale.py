"""From what one record can change to the scale of the noise, for each mechanism and source."""

import math

from normkit.estimators.private import fast_noise
from normkit.estimators.private.calibration import concentrated_sigma, gaussian_sigma, rounding_delta
from normkit.estimators.private.noise import opendp_measurement

__all__ = ["Sensitivity", "noise_scale"]

_FAST_DELTA = 1e-6  # the most that the fast sampler may add to a δ of 0
_LARGEST = 2.0**56  # of a scale: noise of 40 times as much must fit into 64 bits beside the sums
_FINE = 2.0**20  # from here on a step of the integers is less than a millionth of σ


class Sensitivity:
    """What one record changes in the released vector of `size` numbers: L1 and L2 bounds, in the unit of the numbers.

    `steps` is how many steps of the integers make that unit: 1 for counts, 2²⁰ for features. Features were rounded to
    whole steps, so each of the `touched` entries that one record adds to may move by a step more.
    """

    def __init__(self, l1: float | int, l2: float | int, *, size: int, steps: int, touched: int = 0) -> None:
        self.l1 = math.ceil(l1 * steps + touched)
        self.l2 = float(l2 * steps) + math.sqrt(touched)
        self.size, self.steps = size, steps


def noise_scale(
    mechanism: str, epsilon: float, delta: float, sensitivity: Sensitivity, source: str
) -> tuple[float, float]:
    """Scale of the noise in steps of the integers, and the δ that is spent; needs no data.

    Raises:
        ValueError: the fast sampler's own error would cost too much of δ, or the noise would not fit into 64 bits.
        MissingExtraError: "opendp" where OpenDP is not installed.
    """
    if source == "opendp":
        opendp_measurement(mechanism, 1.0)  # a missing package is named before anything is spent
    smallest = (sensitivity.l1 if mechanism == "laplace" else sensitivity.l2 / 40) / epsilon
    if smallest > _LARGEST:
        raise ValueError(_too_much_noise(epsilon))
    if mechanism == "laplace":
        scale = _laplace_scale(epsilon, sensitivity.l1, source)
        delta = _fast_delta(epsilon, scale, sensitivity.size) if source == "fast" else 0.0
    else:
        scale = _gaussian_scale(epsilon, delta, sensitivity, source)
        # whole scales take OpenDP's rational arithmetic a tenth less time; larger is on the private side
        scale = float(math.ceil(scale)) if _FINE <= scale < math.inf else scale
    if scale > _LARGEST:
        raise ValueError(_too_much_noise(epsilon))
    return scale, delta


def _too_much_noise(epsilon: float) -> str:
    return (
        f"epsilon is {epsilon:g}, and noise for it does not fit into 64 bits: nothing could be read off it; give more"
    )


def _laplace_scale(epsilon: float, sensitivity: int, source: str) -> float:
    """Δ₁/ε, rounded up until OpenDP's own map certifies ε."""
    scale = sensitivity / epsilon
    if source == "opendp":
        while opendp_measurement("laplace", scale).map(sensitivity) > epsilon:
            scale = math.nextafter(scale, math.inf)
    return scale


def _fast_delta(epsilon: float, scale: float, size: int) -> float:
    """The δ that the fast sampler's distance from the exact Laplace law costs."""
    delta = (1 + math.exp(min(epsilon, 700.0))) * fast_noise.error("laplace", scale, size)
    if not delta < _FAST_DELTA:
        raise ValueError(
            f"noise is 'fast', whose error costs a delta of {delta:.1g} at epsilon {epsilon:g}: use noise='opendp', "
            "whose samplers are exact"
        )
    return delta


def _gaussian_scale(epsilon: float, delta: float, sensitivity: Sensitivity, source: str) -> float:
    """σ of the analytic curve, at a δ that leaves room for the step from the continuous law to the drawn one.

    Where e^ε makes that step dear, σ is that of zero-concentrated privacy, which holds for the discrete law itself.

    Raises:
        ValueError: the fast sampler's own error would use half of δ.
    """
    first = gaussian_sigma(epsilon, delta, sensitivity.l2)
    if first > _LARGEST:
        raise ValueError(_too_much_noise(epsilon))
    lost = rounding_delta(epsilon, first, sensitivity.size)
    if source == "fast":
        sampler = (1 + math.exp(min(epsilon, 700.0))) * fast_noise.error("gaussian", first, sensitivity.size)
        if sampler > delta / 4:
            raise ValueError(
                f"noise is 'fast', whose error costs {sampler:.1g} of delta {delta:g} at epsilon {epsilon:g}: use "
                "noise='opendp', whose samplers are exact"
            )
        lost += sampler
    if lost <= delta / 2:
        return gaussian_sigma(epsilon, delta - lost, sensitivity.l2)
    return concentrated_sigma(epsilon, delta if source == "opendp" else delta * 3 / 4, sensitivity.l2)
