"""e^(x − m) to two units in the last place for any float32 x ≤ m, and the running sums that are built of it.

Written out like the native kernels' exponential (Dukhan and Ablavatski 2020, arXiv:2001.04438, section 4, which has the
reduction and the polynomial): the device's own `ex2.approx` of x·log2 e loses as many bits as |x| has. x − m is rounded
too; what the rounding took is put back into the reduced argument.
"""

import triton.language as tl

from normkit.kernels.triton.programs.jit import program

__all__ = ["exponential", "merge", "reference_of"]

_LOG2_E = tl.constexpr(1.4426950216293335)
# 17 bits, so that its product with an exponent is exact.
_LN2_HIGH = tl.constexpr(0.693145751953125)
_LN2_LOW = tl.constexpr(1.4286068203094173e-06)
# 1.5·2^23 + 127: added to a small integer it leaves that integer, biased like an exponent, in the low bits.
_MAGIC = tl.constexpr(12583039.0)
# −127 ln 2: there the biased exponent is 0 and the result exactly 0.
_LOWEST = tl.constexpr(-88.02969193111305)


@program
def exponential(x, m, COMPENSATE: tl.constexpr):
    """e^(x − m), at most 1; 0 below e^-88; NaN for a NaN x. x > m counts as m. COMPENSATE: x has all of float32's bits.

    In half types the difference of two numbers near enough to matter is exact.
    """
    d = x - m
    far = d < _LOWEST
    difference = tl.where(far, _LOWEST, tl.where(d > 0.0, 0.0, d))
    z = tl.fma(difference, _LOG2_E, _MAGIC)
    scale = (z.to(tl.int32, bitcast=True) << 23).to(tl.float32, bitcast=True)
    n = z - _MAGIC
    t = tl.fma(n, -_LN2_HIGH, difference)
    if COMPENSATE:
        back = d - x
        lost = (x - (d - back)) - (m + back)
        t += tl.where(difference == d, lost, 0.0)  # not where d was clamped
    t = tl.fma(n, -_LN2_LOW, t)
    q = tl.fma(t, 0.008289290592074394, 0.04189782217144966)
    q = tl.fma(t, q, 0.16667652130126953)
    q = tl.fma(t, q, 0.4999915063381195)
    q = tl.fma(t, q, 0.9999997019767761)
    return tl.fma(t * scale, q, scale)


@program
def reference_of(m):
    """What is subtracted in a row whose maximum is m: m, or 0 where that is infinite."""
    return tl.where(tl.abs(m) == float("inf"), 0.0, m)


@program
def merge(m, total, AXIS: tl.constexpr):
    """Maximum and sum of a row from those of its pieces along AXIS; pieces' sums refer to their own maxima."""
    top = tl.max(m, AXIS, keep_dims=True)
    shares = total * exponential(reference_of(m), reference_of(top), True)
    return top, tl.sum(shares, AXIS, keep_dims=True)
