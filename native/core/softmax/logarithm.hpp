// log of a vector of positive normal doubles, absolute error below 1e-12; NaN and inf give NaN.
//
// log(m 2^k) = k ln2 + 2 artanh((m - 1)/(m + 1)), m in [1/sqrt2, sqrt2]: the argument of artanh is below 0.172,
// so nine terms of its series are enough.
#pragma once
#include "exponential.hpp"

namespace {

template <int N>
struct Doubles {
    typedef double type __attribute__((vector_size(8 * N)));
    typedef int64_t bits __attribute__((vector_size(8 * N)));
};

template <int N>
NK_INLINE typename Doubles<N>::type logarithm(typename Doubles<N>::type s) {
    typedef typename Doubles<N>::type real;
    typedef typename Doubles<N>::bits whole;
    const whole bits = (whole)s;
    const whole mantissa = (bits & 0x000fffffffffffffLL) | 0x3ff0000000000000LL;
    const whole upper = (whole)((real)mantissa > 0x1.6a09e667f3bcdp+0);         // -1 where m > sqrt2
    const real m = (real)(mantissa + (upper & -0x0010000000000000LL));          // halve those
    const whole k = ((bits >> 52) & 0x7ff) - 1023 - upper;
    const real exponent = (real)(k + 0x4338000000000000LL) - 0x1.8p52;          // k set into the mantissa of 1.5 2^52
    const real r = (m - 1.0) / (m + 1.0);
    const real r2 = r * r;
    real series = r2 * (1.0 / 17) + (1.0 / 15);
    series = series * r2 + (1.0 / 13);
    series = series * r2 + (1.0 / 11);
    series = series * r2 + (1.0 / 9);
    series = series * r2 + (1.0 / 7);
    series = series * r2 + (1.0 / 5);
    series = series * r2 + (1.0 / 3);
    return exponent * LN_2_DOUBLE + 2.0 * (r + r * r2 * series) + (s - s);
}

}  // namespace
