// Four short rows together: what is done once a row, from the reference to the division, is done once for four, and
// the latency of one row's chain hides behind the others.
#pragma once
#include "job_access.hpp"
#include "register_row.hpp"

namespace {

constexpr int64_t SHORT_MAX = 512;

NK_INLINE bool at_full_speed(float maximum) { return __builtin_fabsf(maximum) < FULL_SPEED_LIMIT; }

// The constants of four references, kept in memory: a broadcast from there is cheaper than one from a lane.
struct FourReferences {
    float n[4], bias[4], floor[4];

    // False if one of the maxima is not for the fast kernels.
    NK_INLINE bool set(four_floats maximum) {
        for (int k = 0; k < 4; ++k) {
            if (__builtin_expect(!at_full_speed(maximum[k]), 0)) return false;
        }
        constexpr float rounder = 12582912.0f;  // 1.5 2^23: adding it rounds to a whole number
        const four_floats whole = (maximum * LOG2_E + rounder) - rounder;
        const four_floats b = rounder + STEPS * (127.0f - whole), f = (whole - 127.0f) * LN_2;
        memcpy(n, &whole, sizeof n);
        memcpy(bias, &b, sizeof bias);
        memcpy(floor, &f, sizeof floor);
        return true;
    }
    NK_INLINE Reference operator[](int k) const { return {n[k], broadcast(bias[k]), broadcast(floor[k])}; }
};

// factor / sum of each.
template <class T>
NK_INLINE four_doubles four_factors(const Job& job, int64_t row, four_doubles sum) {
    four_doubles factor = {1.0, 1.0, 1.0, 1.0};
    for (int k = 0; k < 4 && job.operation == normkit::LOGSUMEXP_BACKWARD; ++k) {
        factor[k] = static_cast<double>(row_factor<T>(job, row + k));
    }
    return factor / sum;
}

constexpr int REGISTER_VECTORS = 8;

template <class T, bool High, int V>
struct FourRegisterRows {
    RegisterRow<T, V> r0, r1, r2, r3;
    FourReferences reference;
    four_doubles sum;

    NK_INLINE FourRegisterRows(const Job& job, int64_t row)
        : r0(row_a<T>(job, row), job.dim),
          r1(row_a<T>(job, row + 1), job.dim),
          r2(row_a<T>(job, row + 2), job.dim),
          r3(row_a<T>(job, row + 3), job.dim) {}

    // False if a row is not for this kernel; nothing is changed then.
    NK_INLINE bool exponentiate() {
        if (!reference.set(horizontal_max(r0.maxima(), r1.maxima(), r2.maxima(), r3.maxima()))) return false;
        const vf s0 = r0.template exponentiate<High>(reference[0]), s1 = r1.template exponentiate<High>(reference[1]);
        const vf s2 = r2.template exponentiate<High>(reference[2]), s3 = r3.template exponentiate<High>(reference[3]);
        sum = horizontal_sum(s0, s1, s2, s3);
        return true;
    }
    NK_INLINE void write_softmax(const Job& job, int64_t row) const {
        const four_doubles factor = four_factors<T>(job, row, sum);
        const four_floats whole = __builtin_convertvector(factor, four_floats);
        const four_doubles left = factor - __builtin_convertvector(whole, four_doubles);
        const four_floats rest = __builtin_convertvector(left, four_floats);
        float high[4], low[4];
        memcpy(high, &whole, sizeof high);
        memcpy(low, &rest, sizeof low);
        write_one(job, row, r0, high[0], low[0]);
        write_one(job, row + 1, r1, high[1], low[1]);
        write_one(job, row + 2, r2, high[2], low[2]);
        write_one(job, row + 3, r3, high[3], low[3]);
    }

private:
    // From five vectors on the sum has taken more roundings, so the factor must take none.
    static NK_INLINE void write_one(const Job& job, int64_t row, const RegisterRow<T, V>& r, float high, float low) {
        const Gain<(High || V > 4)> gain(broadcast(high), broadcast(low));
        r.write(row_out<T>(job, row), job.stream, [&](int k) { return gain(r.v[k]); });
    }
};

// Sum lane by lane of the exponentials of one whole chunk, in pairs; with Keep they are stored in e.
template <class T, bool High, bool Keep>
NK_INLINE vf chunk_sums(const T* x, const Reference& reference, float* e) {
    vf value[4];
    for (int k = 0; k < 4; ++k) {
        value[k] = exponential<High>(load(x + k * LANES), reference);
        if (Keep) store(e + k * LANES, value[k]);
    }
    return (value[0] + value[1]) + (value[2] + value[3]);
}
// The same of `n` elements, fewer than a chunk.
template <class T, bool High, bool Keep>
NK_INLINE vf rest_sums(const T* x, int64_t n, const Reference& reference, float* e) {
    vf sum = {};
    for (int64_t i = 0; i < n; i += LANES) {
        const vf value = exponential<High>(load_up_to(x + i, part(n - i), MINUS_INFINITY), reference);
        if (Keep) store_up_to(e + i, value, part(n - i));
        sum += value;
    }
    return sum;
}

// The same of a short row. Two chunks are added in float32, which rounds an element three times, and what they come to
// in double: where one element makes up most of the row, each rounding of it is one of every result.
template <class T, bool High, bool Keep>
NK_INLINE WideSums short_sums(const T* x, int64_t n, const Reference& reference, float* e) {
    WideSums sum;
    int64_t i = 0;
    for (; n - i >= 2 * CHUNK; i += 2 * CHUNK) {
        const vf even = chunk_sums<T, High, Keep>(x + i, reference, Keep ? e + i : nullptr);
        sum += even + chunk_sums<T, High, Keep>(x + i + CHUNK, reference, Keep ? e + i + CHUNK : nullptr);
    }
    if (n - i >= CHUNK) {
        sum += chunk_sums<T, High, Keep>(x + i, reference, Keep ? e + i : nullptr);
        i += CHUNK;
    }
    if (i < n) sum += rest_sums<T, High, Keep>(x + i, n - i, reference, Keep ? e + i : nullptr);
    return sum;
}

template <class T, bool High>
struct FourShortRows {
    FourReferences reference;
    four_doubles sum;

    // False if a row is not for this kernel; nothing is written then. With Keep row k's exponentials go to e[k].
    template <bool Keep>
    NK_INLINE bool exponentiate(const Job& job, int64_t row, float* const* e) {
        const T* x[4];
        for (int k = 0; k < 4; ++k) x[k] = row_a<T>(job, row + k);
        const int64_t n = job.dim;
        if (!reference.set(horizontal_max(vector_maximum(x[0], n), vector_maximum(x[1], n), vector_maximum(x[2], n),
                                          vector_maximum(x[3], n)))) {
            return false;
        }
        vd s[4];
        for (int k = 0; k < 4; ++k) {
            s[k] = short_sums<T, High, Keep>(x[k], n, reference[k], Keep ? e[k] : nullptr).halved();
        }
        sum = sum_lanes(s[0], s[1], s[2], s[3]);
        return true;
    }
};

}  // namespace
