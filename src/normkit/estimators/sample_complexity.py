"""How many samples a hierarchical polynomial target asks for: of the layer-wise network, and of a kernel.

Source: Wang, Nichani, Lee 2024, "Learning Hierarchical Polynomials with Three-Layer Neural Networks",
arXiv:2311.13774, theorem 1: Õ(d^k) samples against the Θ̃(d^{kq}) of kernel methods.
"""

from dataclasses import dataclass
from math import comb

from normkit.estimators._parameters import check, is_whole

__all__ = ["SampleComplexity", "sample_complexity_report"]

_ENOUGH = 8
"""n/d^k from which the network explains half of the variance or more, in the median (d from 12 to 20, k = q = 2)."""

_NEAR = 0.5
"""Share of C(d+kq, kq) from which a kernel can be ahead, long before it is exact: without noise its error crossed the
network's between 0.4 and 0.6 of it for d = 12 and 16, later for d = 20 (k = q = 2).
"""


@dataclass(frozen=True)
class SampleComplexity:
    """What n samples are worth for h = g∘p with p of degree k and g of degree q in d dimensions.

    Attributes:
        d, k, q, n: as asked.
        samples_per_feature: n/d^k, what the layer-wise network's error depends on.
        feature_dimension: C(d+k, k), the polynomials of degree ≤ k, from which the network learns p.
        target_dimension: C(d+kq, kq), those of degree ≤ kq: without noise a kernel of that degree is exact from here.
        expected: "layerwise", "kernel", "either", or "neither", the learner that can be expected to work best.
    """

    d: int
    k: int
    q: int
    n: int

    @property
    def samples_per_feature(self) -> float:
        """n/d^k."""
        return self.n / self.d**self.k

    @property
    def feature_dimension(self) -> int:
        """C(d+k, k)."""
        return comb(self.d + self.k, self.k)

    @property
    def target_dimension(self) -> int:
        """C(d+kq, kq)."""
        return comb(self.d + self.k * self.q, self.k * self.q)

    @property
    def expected(self) -> str:
        """`kernel` from C(d+kq, kq) samples, `either` from half of these, `layerwise` from 8 d^k, or `neither`.

        Where `either`, a kernel may be ahead if y has no noise: it was for d = 12 and 16, at d = 20 not at the start.
        """
        if self.n >= self.target_dimension:
            return "kernel"
        if self.n >= _NEAR * self.target_dimension:
            return "either"
        return "layerwise" if self.samples_per_feature >= _ENOUGH else "neither"

    def __str__(self) -> str:
        degree = self.k * self.q
        wide = f"a polynomial kernel of degree {degree} needs C(d+{degree}, {degree}) = {self.target_dimension:,}"
        verdict = {
            "kernel": "a kernel solves this without noise; the network has no advantage left",
            "either": "close enough for the kernel to be ahead of the layer-wise network: try both",
            "layerwise": "the layer-wise network can be expected to work, a kernel not yet",
            "neither": f"too few for either: the network works from about {_ENOUGH * self.d**self.k:,} samples",
        }
        return (
            f"n = {self.n:,} samples are {self.samples_per_feature:.3g} d^{self.k}; the inner feature is one of "
            f"C(d+{self.k}, {self.k}) = {self.feature_dimension:,} polynomials, {wide}: {verdict[self.expected]}"
        )


def sample_complexity_report(d: int, k: int, q: int, n: int) -> SampleComplexity:
    """n/d^k, C(d+k, k), C(d+kq, kq), and which learner can be expected to work; print it for a sentence.

    Args:
        d: dimension of x.
        k: degree of the inner feature p.
        q: degree of the link g.
        n: samples, of both stages together.

    Raises:
        ValueError: one of them is no whole number of at least 1; the message says which.
    """
    for name, value in {"d": d, "k": k, "q": q, "n": n}.items():
        check(name, value, is_whole(value), "a whole number of at least 1")
    return SampleComplexity(d, k, q, n)
