"""The sum of a row's exponentials as mantissa and exponent, which no input overflows, and how two such sums are added.

    Σ_j e^(x_j) = mantissa · 2^exponent,   log Σ_j e^(x_j) = log(mantissa) + exponent · ln 2

The pairs of pieces of a row merge into the pair of the row, in any order: softmax over a sequence that is spread over
processes, or that arrives piece by piece, needs no second look at the earlier pieces. There is nothing to choose
between here, so this module has no `Op`.

Source: Dukhan and Ablavatski 2020, arXiv:2001.04438 (algorithm 3 and its rule of accumulation, section 4).
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.kernels.arguments import axis, check_float
from normkit.kernels.softmax_pair import softmax_pair as _softmax_pair

__all__ = ["merge_pairs", "softmax_pair"]

Pair = tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows"]]

# Further apart than this, the smaller of two numbers changes nothing of the larger in float64 either; and a bound above
# the smallest normal number keeps an infinite mantissa infinite.
_FURTHEST = -126.0


def softmax_pair(x: Shaped[Tensor, "*shape"], dim: int = -1) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Mantissa and exponent of Σ_j e^(x_j) along `dim`; no element and no sum can overflow.

    The mantissa is within 1e-6 of the exact one, relatively, for |x| up to 1e5 (6e-8 |x| beyond: then the exponent's
    own unit shows), and in [1/2, 1] for |x| below 1e7. The derivative is that of the mantissa, the exponent being
    constant: d mantissa / dx_j = mantissa · softmax(x)_j.

    Args:
        x: any shape, any float dtype.
        dim: the axis summed over.

    Returns:
        (mantissa, exponent), the shape of `x` without `dim`, float64 for a float64 input, else float32. A row that is
        all −inf, or empty, gives (0, −inf); one with +inf gives (inf, 0); one with NaN gives a NaN mantissa.

    Raises:
        TypeError: the input is no float tensor.
        IndexError: the input has no axis `dim`.
    """
    check_float("softmax_pair", x)
    return _softmax_pair(x, axis(x, dim)) if x.ndim else _scalar(x)


def merge_pairs(a: Pair, b: Pair) -> tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows"]]:
    """The pair of the sum of two pairs: M = max(a_e, b_e), (a_m 2^(a_e − M) + b_m 2^(b_e − M), M).

    The exponent is the larger of the two, so the mantissa can grow to 2 with every merge; its logarithm is what counts.
    (0, −inf) is the neutral element to start from.

    Args:
        a: (mantissa, exponent), any shape.
        b: the same, of a shape that broadcasts with it.

    Returns:
        (mantissa, exponent) of the common shape.
    """
    (a_mantissa, a_exponent), (b_mantissa, b_exponent) = a, b
    largest = torch.maximum(a_exponent, b_exponent)
    a_scale, b_scale = _power(a_exponent, largest), _power(b_exponent, largest)
    return a_mantissa * a_scale + b_mantissa * b_scale, largest


def _power(exponent: Tensor, largest: Tensor) -> Tensor:
    """2^(exponent − largest); 1 where both are −inf."""
    distance = torch.where(exponent == largest, 0.0, exponent - largest)
    return torch.exp2(distance.clamp_min(_FURTHEST)).to(exponent.dtype)


def _scalar(x: Tensor) -> tuple[Tensor, Tensor]:
    return _softmax_pair(x.unsqueeze(0), 0)
