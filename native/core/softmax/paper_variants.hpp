// The three algorithms that Dukhan & Ablavatski 2020 (arXiv:2001.04438) compare, as published, for comparison only:
// float32 sums without blocks, no care for -inf (the pairs give NaN for a row that holds one) or for huge values.
#pragma once
#include "job_access.hpp"
#include "exponential.hpp"
#include "walks.hpp"

namespace {

// e^x = mantissa 2^exponent, the exponent a whole float that cannot overflow.
struct Pair {
    vf mantissa, exponent;
};

NK_INLINE Pair extended_exponential(vf x) {
    const vf n = round_to_integer(x * LOG2_E);
    const vf t = residual(x, n, 1.0f);
    return {fma(t, long_polynomial<false>(t), broadcast(1.0f)), n};
}

// e^x for x <= 0: the same polynomial times a power of two, 0 where that is below the normal range.
NK_INLINE vf plain_exponential(vf x) {
    const Pair pair = extended_exponential(max_keep(broadcast(-127.0f * LN_2), x));
    const vf field = pair.exponent + broadcast(0x1.8000FEp23f);
    return pair.mantissa * (vf)((vi)field << 23);
}

NK_INLINE Pair add_pairs(Pair a, Pair b) {
    const vf m = max_keep(a.exponent, b.exponent);
    return {scale_by_power(a.mantissa, a.exponent - m) + scale_by_power(b.mantissa, b.exponent - m), m};
}

NK_INLINE Pair partial_pair(const float* x, int count) {
    float mantissa[LANES], exponent[LANES];
    const Pair pair = extended_exponential(load_part(x, count, 0.0f));
    store(mantissa, pair.mantissa);
    store(exponent, pair.exponent);
    return {load_part(mantissa, count, 0.0f), load_part(exponent, count, -1e9f)};
}

inline Pair across_lanes(Pair sum) {
    const vf top = broadcast(horizontal_max(sum.exponent));
    return {broadcast(static_cast<float>(horizontal_sum(scale_by_power(sum.mantissa, sum.exponent - top)))), top};
}

inline void two_pass_paper_row(const float* x, float* y, int64_t n, bool streamed) {
    const Pair empty = {vf{}, broadcast(MINUS_INFINITY)};
    Pair s0 = empty, s1 = empty, s2 = empty, s3 = empty;
    int64_t i = 0;
    for (; n - i >= CHUNK; i += CHUNK) {
        prefetch(reinterpret_cast<const char*>(x + i) + PREFETCH_BYTES);
        s0 = add_pairs(s0, extended_exponential(load(x + i)));
        s1 = add_pairs(s1, extended_exponential(load(x + i + LANES)));
        s2 = add_pairs(s2, extended_exponential(load(x + i + 2 * LANES)));
        s3 = add_pairs(s3, extended_exponential(load(x + i + 3 * LANES)));
    }
    for (; n - i >= LANES; i += LANES) s0 = add_pairs(s0, extended_exponential(load(x + i)));
    if (i < n) s0 = add_pairs(s0, partial_pair(x + i, part(n - i)));
    // A lane that met no element holds 0 2^-inf; -1e9 in its place keeps the differences finite.
    Pair* sums[] = {&s0, &s1, &s2, &s3};
    for (Pair* s : sums) s->exponent = max_keep(broadcast(-1e9f), s->exponent);
    const Pair whole = across_lanes(add_pairs(add_pairs(s0, s1), add_pairs(s2, s3)));
    const vf inverse = broadcast(1.0f) / whole.mantissa;
    write_row(y, n, streamed, [&](int64_t k, int count) {
        const Pair e = extended_exponential(load_up_to(x + k, count, 0.0f));
        return scale_by_power(e.mantissa * inverse, e.exponent - whole.exponent);
    });
}

// Sum of e^(x - maximum) in four float32 vectors; with Keep the exponentials are stored in y.
template <bool Keep>
inline float sum_below_maximum(const float* x, float* y, int64_t n, vf maximum) {
    vf s[4] = {};
    int64_t i = 0;
    for (; n - i >= CHUNK; i += CHUNK) {
        prefetch(reinterpret_cast<const char*>(x + i) + PREFETCH_BYTES);
        for (int k = 0; k < 4; ++k) {
            const vf e = plain_exponential(load(x + i + k * LANES) - maximum);
            if (Keep) store(y + i + k * LANES, e);
            s[k] += e;
        }
    }
    for (; i < n; i += LANES) {
        const vf e = plain_exponential(load_up_to(x + i, part(n - i), MINUS_INFINITY) - maximum);
        if (Keep) store_up_to(y + i, e, part(n - i));
        s[0] += e;
    }
    return static_cast<float>(horizontal_sum((s[0] + s[1]) + (s[2] + s[3])));
}

template <bool Keep>
inline void three_pass_row(const float* x, float* y, int64_t n, bool streamed) {
    const vf maximum = broadcast(horizontal_max(vector_maximum(x, n)));
    const vf inverse = broadcast(1.0f / sum_below_maximum<Keep>(x, y, n, maximum));
    write_row(y, n, streamed && !Keep, [&](int64_t i, int count) {
        if (Keep) return load_up_to(y + i, count, 0.0f) * inverse;
        return plain_exponential(load_up_to(x + i, count, MINUS_INFINITY) - maximum) * inverse;
    });
}

}  // namespace
