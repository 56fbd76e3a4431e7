"""Random Fourier features of six kernels, computed so that a row's features depend on that row alone.

With frequencies ω drawn from the kernel's spectral law, f(x − y) = E cos(ωᵀ(x − y)), and

    φ(x) = [cos(Wᵀx), sin(Wᵀx)],   Σ_x f(x − y) ≈ φ(y)ᵀ Σ_x φ(x) / D,   ‖φ(x)‖² = D for every x.

So one row moves Σ φ by √D in L2 and by at most √2 D in L1, whatever the data.

Source: Rahimi and Recht, NeurIPS 2007; Backurs et al. 2024, arXiv:2403.08917, the section on smooth kernels; the last
three kernels of the table by 1/(1 + h) = ∫ e^{−t} e^{−th} dt.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import csr_array, csr_matrix

from normkit.estimators._parameters import check_choice
from normkit.estimators.private.rows import row_blocks

__all__ = [
    "FRACTION_BITS",
    "KERNELS",
    "draw_frequencies",
    "draw_projection",
    "feature_sums",
    "fourier_features",
    "grouped_feature_sums",
    "rowwise_product",
]

KERNELS = ("gaussian", "exponential", "laplacian", "cauchy", "inv_l2", "inv_l1")
"""e^{−‖z‖₂²}, e^{−‖z‖₂}, e^{−‖z‖₁}, 1/(1 + ‖z‖₂²), 1/(1 + ‖z‖₂), 1/(1 + ‖z‖₁), with z = (x − y)/bandwidth."""

FRACTION_BITS = 20
"""Released numbers are whole multiples of 2⁻²⁰."""

_PARTS = 3  # of a number in an exact product


class _Columns(NamedTuple):
    """The right factor of exact products, cut once for all blocks of rows."""

    parts: Float[ndarray, "3*d k"]
    scale: Int[ndarray, "1 k"]
    bits: int


def draw_frequencies(
    kernel: str, n_dims: int, n_features: int, rng: np.random.RandomState, bandwidth: float | int = 1.0
) -> Float[ndarray, "n_dims n_features"]:
    """Public frequencies W, one a column.

    Raises:
        ValueError: the kernel is none of `KERNELS`, or frequencies at this bandwidth are beyond float64.
    """
    check_choice("kernel", kernel, KERNELS)
    with np.errstate(over="ignore"):
        frequencies = _unit_frequencies(kernel, (n_dims, n_features), rng) / bandwidth
    if not np.all(np.isfinite(frequencies)):
        raise ValueError(f"bandwidth is {bandwidth}, and frequencies overflow: give the data and it in a larger unit")
    return frequencies


def _unit_frequencies(
    kernel: str, shape: tuple[int, int], rng: np.random.RandomState
) -> Float[ndarray, "n_dims n_features"]:
    n_features = shape[1]
    if kernel == "gaussian":
        return math.sqrt(2) * rng.standard_normal(shape)
    if kernel == "exponential":
        return rng.standard_normal(shape) / np.abs(rng.standard_normal(n_features))
    if kernel == "laplacian":
        return rng.standard_cauchy(shape)
    mixing = rng.standard_exponential(n_features)
    if kernel == "cauchy":
        return np.sqrt(2 * mixing) * rng.standard_normal(shape)
    if kernel == "inv_l2":
        return mixing * rng.standard_normal(shape) / np.abs(rng.standard_normal(n_features))
    return mixing * rng.standard_cauchy(shape)


def draw_projection(n_dims: int, n_projections: int, rng: np.random.RandomState) -> Float[ndarray, "n_dims k"]:
    """P with entries N(0, 1/k): distances survive x ↦ xP up to 1 ± O(1/√k), whatever the data, so it costs nothing."""
    return rng.standard_normal((n_dims, n_projections)) / math.sqrt(n_projections)


def fourier_features(X: Float[ndarray, "n d"], frequencies: Float[ndarray, "d D"]) -> Float[ndarray, "n 2*D"]:
    """φ(x) = [cos(Wᵀx), sin(Wᵀx)] for each row."""
    phase = X @ frequencies
    return np.concatenate((np.cos(phase), np.sin(phase)), axis=1)


def feature_sums(
    X: Float[ndarray, "n d"] | csr_array | csr_matrix,
    frequencies: Float[ndarray, "k D"],
    projection: Float[ndarray, "d k"] | None = None,
) -> Int[ndarray, "2*D"]:
    """Σ_x φ(x) in whole multiples of 2⁻²⁰, as `grouped_feature_sums` of one group."""
    return grouped_feature_sums(X, np.zeros(X.shape[0], dtype=np.int64), 1, frequencies, projection)[0]


@np.errstate(all="ignore")  # whatever the caller's setting: an error or a warning would tell of a row
def grouped_feature_sums(
    X: Float[ndarray, "n d"] | csr_array | csr_matrix,
    group: Int[ndarray, "n"],
    n_groups: int,
    frequencies: Float[ndarray, "k D"],
    projection: Float[ndarray, "d k"] | None = None,
) -> Int[ndarray, "n_groups 2*D"]:
    """Σ_{x in group} φ(x) in whole multiples of 2⁻²⁰: each entry of each row is rounded, then integers are added.

    Rounding moves a row by half a step an entry, which the sensitivity must allow for; the order of the sum, and what
    else is in it, changes nothing. A feature whose phase is beyond float64 counts as 0, which only shortens φ(x); the
    row must not make a warning either, for that would tell of it.
    """
    width = frequencies.shape[1]
    total = np.zeros((n_groups, 2 * width), dtype=np.int64)
    factors = [_split_columns(part) for part in (projection, frequencies) if part is not None]
    for place, rows in row_blocks(X, max(width, n_groups)):
        phase, finite = _phases(rows, factors)
        member = (group[place] == np.arange(n_groups)[:, None]).astype(np.float64)
        for part, function in enumerate((np.cos, np.sin)):
            steps = function(phase)
            steps *= 2.0**FRACTION_BITS
            np.rint(steps, out=steps)
            if not finite.all():
                steps *= finite
            # sums of integers below 2⁵³, so any order of adding gives the same
            total[:, part * width : (part + 1) * width] += (member @ steps).astype(np.int64)
    return total


def _phases(X: Float[ndarray, "n d"], factors: list[_Columns]) -> tuple[Float[ndarray, "n D"], Bool[ndarray, "n D"]]:
    """Each row times all factors, with 0 in place of what overflows, and which ones did not."""
    known = np.ones((len(X), 1), dtype=bool)
    for projection in factors[:-1]:
        X = _product(X, projection)
        known = np.isfinite(X).all(axis=1, keepdims=True)
        X = np.where(known, X, 0.0)
    phase = _product(X, factors[-1])
    finite = np.isfinite(phase) & known
    return np.where(finite, phase, 0.0), finite


def rowwise_product(X: Float[ndarray, "n d"], W: Float[ndarray, "d k"]) -> Float[ndarray, "n k"]:
    """X W with every row's result the same to the bit wherever it stands and whatever the other rows are.

    A matrix product may sum a row in another order when the shape around it changes, so one row more could move the
    last bit of all the others, and rounding would turn bits into whole steps. Here rows and columns are cut into
    integers so short (20 bits and more) that every partial sum is exact, and any order gives the same; the partial
    products are then added entry by entry. Three parts reach the accuracy of float64, which data far from 0 need.
    Parts stand side by side, in the other order in the columns, so all products of one size are one matrix product.
    """
    with np.errstate(all="ignore"):
        return _product(X, _split_columns(W))


def _split_columns(W: Float[ndarray, "d k"]) -> _Columns:
    bits = (53 - math.ceil(math.log2(max(2, _PARTS * len(W))))) // 2
    parts, scale = _integers(W, bits, axis=0)
    return _Columns(np.concatenate(parts[::-1], axis=0), scale, bits)


def _product(X: Float[ndarray, "n d"], W: _Columns) -> Float[ndarray, "n k"]:
    dims = X.shape[1]
    parts, scale = _integers(X, W.bits, axis=1)
    rows = np.concatenate(parts, axis=1)
    total = rows @ W.parts
    for dropped in range(1, _PARTS):
        total *= 2.0**-W.bits
        total += rows[:, : (_PARTS - dropped) * dims] @ W.parts[dropped * dims :]
    return np.ldexp(total, scale + W.scale)


def _integers(
    values: Float[ndarray, "n d"], bits: int, axis: int
) -> tuple[list[Float[ndarray, "n d"]], Int[ndarray, "..."]]:
    """Parts, each of integers of at most `bits` bits, and exponents e: values ≈ 2^e Σ_i parts_i · 2^(−i bits)."""
    largest = np.max(np.abs(values), axis=axis, keepdims=True, initial=0.0)
    exponent = np.frexp(largest)[1] - bits
    rest, parts = np.ldexp(values, -exponent), []
    for _ in range(_PARTS):
        parts.append(np.rint(rest))
        rest = (rest - parts[-1]) * 2.0**bits
    return parts, exponent
