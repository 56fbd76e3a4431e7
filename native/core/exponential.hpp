// e^x as a float that carries a shared power of two: e^x 2^-N for one whole number N, the row's reference.
//
// Dukhan & Ablavatski 2020 (arXiv:2001.04438) keep every exponential as a pair (mantissa, exponent), so that
// nothing overflows and no maximum is needed. Here all elements of a row share the exponent N, which costs one
// addend of the first fused multiply-add. With b = TABLE_BITS (0, 3 or 4: what one permutation can look up):
//
//   z = x 2^b log2(e) + (B + 2^b (127 - N)),  B = 1.5 2^23    the addition rounds to a whole number
//   s = (bits(z) << (23 - b)) + table[bits(z) mod 2^b]         is 2^(n / 2^b - N), n = round(x 2^b log2 e)
//   t = x - n ln2 / 2^b,  |t| <= ln2 / 2^(b+1)                 ln2 in two parts
//   e^x 2^-N = s + s (e^t - 1 + rest)                          e^t - 1: a minimax polynomial
//
// The shift puts n >> b into the exponent field and its low b bits j on top of the mantissa; the table holds the bits
// of 2^(j / 2^b) less those of 1 and j << (23 - b), so that one integer addition corrects that;
// a second table has what rounding took from the entries.
//
// x is first raised to (N - 127) ln2, where s is exactly 0: small values and -inf give 0, NaN stays NaN. Needs
// x <= (N + 127) ln2 and |N| < 2^17. Relative error of the polynomial: 2^-29.2 with 16 entries, 2^-25.2 with 8 (2^-32
// where accuracy is asked for, and then rest too), 2^-23.4 without a table (2^-25).
#pragma once
#include "simd.hpp"

namespace {

constexpr float LOG2_E = 0x1.715476p+0f;
constexpr float LN_2 = 0x1.62E430p-1f;
constexpr double LN_2_DOUBLE = 0x1.62e42fefa39efp-1;
constexpr float STEPS = 1 << TABLE_BITS;  // of n to a power of two

// Rows with a maximum beyond this have it subtracted instead: z must stay in [2^23, 2^24), and x times the rounding
// of log2(e) must not push t out of the polynomial's interval.
constexpr float FULL_SPEED_LIMIT = 1.0e5f;
constexpr float REFERENCE_LIMIT = 1.44e5f;
// A row's reference moves when an element exceeds it by more than 2^23, so that sums of 2^24s cannot overflow.
constexpr float HEADROOM = 23.0f;

// The constants of one reference N.
struct Reference {
    float n;
    vf bias;   // B + 2^b (127 - N)
    vf floor;  // (N - 127) ln2
};

NK_INLINE vf bias_of(vf n) { return 12582912.0f + STEPS * (127.0f - n); }
NK_INLINE Reference reference_at(float n) { return {n, bias_of(broadcast(n)), broadcast((n - 127.0f) * LN_2)}; }

// round(x log2 e) within the limits; NaN gives the lower one.
NK_INLINE float reference_for(float x) {
    const float n = __builtin_rintf(x * LOG2_E);
    if (!(n > -REFERENCE_LIMIT)) return -REFERENCE_LIMIT;
    return n < REFERENCE_LIMIT ? n : REFERENCE_LIMIT;
}

typedef double wide_vf __attribute__((vector_size(8 * LANES)));

// x - n ln2 / 2^b. n times the first part of ln2 is exact inside a fused operation; without one the product is taken
// in double, or the low bits of n would be lost.
NK_INLINE vf residual(vf x, vf n, float steps) {
    if (FUSED) {
        const vf rest = fnma(n, broadcast(0x1.62E43p-1f / steps), x);
        return fnma(n, broadcast(-0x1.05C61p-29f / steps), rest);
    }
    const wide_vf ln2 = static_cast<double>(1.0f / steps) * LN_2_DOUBLE - wide_vf{};
    return __builtin_convertvector(__builtin_convertvector(x, wide_vf) - __builtin_convertvector(n, wide_vf) * ln2, vf);
}

// (e^t - 1 - t)/t^2 for |t| <= ln2/2.
NK_INLINE vf long_polynomial_rest(vf t) {
    vf q = fma(t, broadcast(0x1.70A068p-10f), broadcast(0x1.1291D8p-7f));
    q = fma(t, q, broadcast(0x1.555156p-5f));
    q = fma(t, q, broadcast(0x1.5553BEp-3f));
    return fma(t, q, broadcast(0x1.000002p-1f));
}

// (e^t - 1)/t for |t| <= ln2/2.
template <bool High>
NK_INLINE vf long_polynomial(vf t) {
    if (High) return fma(t, long_polynomial_rest(t), broadcast(1.0f));
    vf q = fma(t, broadcast(0x1.0F9F9Cp-7f), broadcast(0x1.573A1Ap-5f));
    q = fma(t, q, broadcast(0x1.555A80p-3f));
    q = fma(t, q, broadcast(0x1.FFFDC6p-2f));
    return fma(t, q, broadcast(0x1.FFFFF6p-1f));
}

// e^t - 1 for |t| <= ln2/16 (8 entries) or ln2/32 (16).
template <bool High>
NK_INLINE vf short_polynomial(vf t) {
    vf q;
    if (TABLE_BITS == 4) {
        q = fma(t, broadcast(0x1.55559Ap-3f), broadcast(0x1.00021Ep-1f));
    } else if (High) {
        q = fma(t, fma(t, broadcast(0x1.5556C8p-5f), broadcast(0x1.555C70p-3f)), broadcast(0.5f));
    } else {
        q = fma(t, broadcast(0x1.555656p-3f), broadcast(0x1.000874p-1f));
    }
    return fma(t * t, q, t);
}

// What rounding took from product = a b.
NK_INLINE vf product_rest(vf a, vf b, vf product) { return FUSED ? -fnma(a, b, product) : vf{}; }

// e^x 2^-N times `gain`, which enters the scale for one multiplication.
template <bool High, bool Gain>
NK_INLINE vf exponential_with(vf x, vf bias, vf floor, vf gain) {
    x = max_keep(floor, x);
    const vf z = fma(x, broadcast(STEPS * LOG2_E), bias);
    vi bits = (vi)z << (23 - TABLE_BITS);
    if (TABLE_BITS > 0) bits += (vi)power_table((native_int)z);
    const vf s = Gain ? (vf)bits * gain : (vf)bits;
    const vf t = residual(x, z - bias, STEPS);
    if (TABLE_BITS == 0 && FUSED) {
        const vf q = long_polynomial<High>(t);
        return High && Gain ? fma(t * s, q, product_rest((vf)bits, gain, s)) + s : fma(t * s, q, s);
    }
    // Unfused, t q must be small beside 1 before it is rounded: t + t^2 (q - 1)/t.
    if (TABLE_BITS == 0) return fma(s, fma(t * t, long_polynomial_rest(t), t), s);
    vf p = short_polynomial<High>(t);
    if (!High) return fma(s, p, s);
    p += power_table_rest((native_int)z);
    return Gain ? fma(s, p, product_rest((vf)bits, gain, s)) + s : fma(s, p, s);
}

template <bool High>
NK_INLINE vf exponential(vf x, const Reference& r) {
    return exponential_with<High, false>(x, r.bias, r.floor, r.bias);
}

// 2^d for a whole number d <= 0; 0 below the normal range.
NK_INLINE float power_of_two(float d) {
    if (!(d >= -126.0f)) return 0.0f;
    const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(d) + 127) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace
