// Softmax of rows that fit in the first-level cache: maximum, exponentials, multiply; no moving reference.
#pragma once
#include "four_rows.hpp"
#include "shifted_row.hpp"

namespace {

template <class T, bool High, int V>
NK_INLINE void register_softmax_row(const Job& job, int64_t row) {
    RegisterRow<T, V> r(row_a<T>(job, row), job.dim);
    const float maximum = horizontal_max(r.maxima());
    if (__builtin_expect(!at_full_speed(maximum), 0)) return shifted_row<T, High>(job, row);
    const vf sums = r.template exponentiate<High>(reference_at(reference_for(maximum)));
    const double sum = High ? r.wide_sum() : horizontal_sum(sums);
    const Gain<(High || V > 4)> gain(static_cast<double>(row_factor<T>(job, row)) / sum);
    r.write(row_out<T>(job, row), job.stream, [&](int k) { return gain(r.v[k]); });
}

template <class T, bool High, int V>
void register_softmax_rows(const Job& job, int64_t begin, int64_t end) {
    int64_t row = begin;
    for (; !High && end - row >= 4; row += 4) {
        FourRegisterRows<T, High, V> four(job, row);
        if (__builtin_expect(four.exponentiate(), 1)) {
            four.write_softmax(job, row);
        } else {
            for (int64_t k = 0; k < 4; ++k) register_softmax_row<T, High, V>(job, row + k);
        }
    }
    for (; row < end; ++row) register_softmax_row<T, High, V>(job, row);
}

// Where a row's exponentials wait for the sum: in the output, unless that is narrower or to be streamed.
NK_INLINE float* place_of_exponentials(float* y, bool streamed, float* buffer) { return streamed ? buffer : y; }
template <class H>
NK_INLINE float* place_of_exponentials(H*, bool, float* buffer) {
    return buffer;
}

template <class T>
NK_INLINE void write_kept(const Job& job, int64_t row, const float* e, double factor) {
    const Gain<true> gain(factor);
    write_row(row_out<T>(job, row), job.dim, job.stream,
              [&](int64_t i, int count) { return gain(load_up_to(e + i, count, 0.0f)); });
}

template <class T, bool High>
void short_softmax_row(const Job& job, int64_t row) {
    const T* x = row_a<T>(job, row);
    const float maximum = horizontal_max(vector_maximum(x, job.dim));
    if (!at_full_speed(maximum)) return shifted_row<T, High>(job, row);
    float buffer[SHORT_MAX];
    float* e = place_of_exponentials(row_out<T>(job, row), job.stream, buffer);
    const double sum = short_sums<T, High, true>(x, job.dim, reference_at(reference_for(maximum)), e).total();
    write_kept<T>(job, row, e, static_cast<double>(row_factor<T>(job, row)) / sum);
}

template <class T, bool High>
void many_short_softmax_rows(const Job& job, int64_t begin, int64_t end) {
    float buffer[4][SHORT_MAX];
    int64_t row = begin;
    for (; end - row >= 4; row += 4) {
        FourShortRows<T, High> four;
        float* e[4];
        for (int k = 0; k < 4; ++k) e[k] = place_of_exponentials(row_out<T>(job, row + k), job.stream, buffer[k]);
        if (__builtin_expect(!four.template exponentiate<true>(job, row, e), 0)) {
            for (int64_t k = 0; k < 4; ++k) short_softmax_row<T, High>(job, row + k);
            continue;
        }
        const four_doubles factor = four_factors<T>(job, row, four.sum);
        for (int k = 0; k < 4; ++k) write_kept<T>(job, row + k, e[k], factor[k]);
    }
    for (; row < end; ++row) short_softmax_row<T, High>(job, row);
}

template <class T, bool High>
void short_softmax_rows(const Job& job, int64_t begin, int64_t end) {
    const int64_t vectors = (job.dim + LANES - 1) / LANES;
    if (vectors == 1) return register_softmax_rows<T, High, 1>(job, begin, end);
    if (vectors == 2) return register_softmax_rows<T, High, 2>(job, begin, end);
    if (vectors == 3) return register_softmax_rows<T, High, 3>(job, begin, end);
    if (vectors == 4) return register_softmax_rows<T, High, 4>(job, begin, end);
    if (vectors == 5) return register_softmax_rows<T, High, 5>(job, begin, end);
    if (vectors == 6) return register_softmax_rows<T, High, 6>(job, begin, end);
    if (vectors == 7) return register_softmax_rows<T, High, 7>(job, begin, end);
    if (vectors == 8) return register_softmax_rows<T, High, 8>(job, begin, end);
    many_short_softmax_rows<T, High>(job, begin, end);
}

}  // namespace
