// The sum of a row's exponentials as a pair that cannot overflow: mantissa 2^exponent, mantissa in [1/2, 1].
#pragma once
#include <math.h>

#include "exponential.hpp"

namespace {

struct FloatPair {
    float mantissa, exponent;
};

// sum 2^reference; the sum is a positive normal number.
NK_INLINE FloatPair pair_of(double sum, float reference) {
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    const int power = static_cast<int>(bits >> 52 & 0x7ff) - 1022;
    bits = (bits & 0x000fffffffffffffULL) | 1022ULL << 52;
    memcpy(&sum, &bits, sizeof sum);
    return {static_cast<float>(sum), reference + static_cast<float>(power)};
}

// e^log_sum of any finite size. Beyond 2^24 float32 has not every whole exponent and the mantissa leaves its interval;
// beyond 2^30 the mantissa says nothing more, and the pair is as exact as log_sum in float32 would be.
NK_INLINE FloatPair pair_of_logarithm(double log_sum) {
    const double largest = 0x1.fffffep127;
    const double n = floor(log_sum / LN_2_DOUBLE) + 1.0;
    const float exponent = static_cast<float>(n > largest ? largest : n < -largest ? -largest : n);
    const double rest = log_sum - static_cast<double>(exponent) * LN_2_DOUBLE;
    return {static_cast<float>(exp(rest > 80.0 ? 80.0 : rest < -80.0 ? -80.0 : rest)), exponent};
}

}  // namespace
