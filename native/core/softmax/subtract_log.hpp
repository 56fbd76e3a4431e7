// x - L with one rounding, L a double: (x - float(L)) - rest would round twice, where |x - L| is largest.
#pragma once
#include "gain.hpp"

namespace {

// L in two parts; the rounding of x - high (Knuth's two-sum) joins the low part before that is subtracted.
struct SplitLog {
    vf high, low;

    NK_INLINE explicit SplitLog(double log_sum) {
        const float h = static_cast<float>(log_sum);
        high = broadcast(h);
        low = broadcast(static_cast<float>(log_sum - static_cast<double>(h)));
    }
    NK_INLINE SplitLog(vf h, vf l) : high(h), low(l) {}

    NK_INLINE vf operator()(vf x) const {
        const vf t = x - high;
        const vf b = t - x;
        const vf rest = (x - (t - b)) - (high + b);
        return t + (number_or_lowest(rest) - low);  // for x = -inf rest is NaN, and t already the result
    }
};

// L as a product of two floats, for one fused multiply-add an element. Of CANDIDATES first factors the one is taken
// whose second factor, rounded, comes nearest: with 32, within 2^-29 of L as a rule, three hundredths of a unit in L's
// last place.
struct ProductLog {
    static constexpr int CANDIDATES = 32;
    vf first, second;

    NK_INLINE explicit ProductLog(double log_sum) {
        typedef Doubles<8>::type doubles;
        typedef float singles __attribute__((vector_size(32)));
        const doubles l = log_sum - doubles{};
        doubles p = {1.0, 1.0 + SPACING, 1.0 + 2 * SPACING, 1.0 + 3 * SPACING, 1.0 + 4 * SPACING, 1.0 + 5 * SPACING,
                     1.0 + 6 * SPACING, 1.0 + 7 * SPACING};
        doubles best_first = p, best_second = {}, smallest = doubles{} + __builtin_inf();
#pragma GCC unroll 4  // the reciprocals are constants then
        for (int k = 0; k < CANDIDATES; k += 8, p += 8 * SPACING) {
            const doubles reciprocal = 1.0 / p;
            const doubles q = __builtin_convertvector(__builtin_convertvector(l * reciprocal, singles), doubles);
            const doubles miss = (p * q - l) * (p * q - l);  // the difference is exact: 48 bits
            const auto better = miss < smallest;
            smallest = better ? miss : smallest;
            best_first = better ? p : best_first;
            best_second = better ? q : best_second;
        }
        int best = 0;
        for (int lane = 1; lane < 8; ++lane) best = smallest[lane] < smallest[best] ? lane : best;
        first = broadcast(static_cast<float>(best_first[best]));
        second = broadcast(static_cast<float>(best_second[best]));
    }
    NK_INLINE vf operator()(vf x) const { return fnma(first, second, x); }

private:
    static constexpr double SPACING = 0x1.4d5p-7;  // a multiple of 2^-19, so that every factor is a float32
};

// The cheaper of the two for a long row.
template <bool Fused>
struct LongRowLog {
    typedef ProductLog type;
};
template <>
struct LongRowLog<false> {
    typedef SplitLog type;
};
typedef LongRowLog<FUSED>::type RowLog;

}  // namespace
