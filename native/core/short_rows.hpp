// Rows that fit in the first-level cache: maximum, exponentials, multiply; no moving reference.
//
// Rows of up to eight vectors never leave the registers. log_softmax and logsumexp need a logarithm per row and
// take it for a batch of rows at once.
#pragma once
#include "logarithm.hpp"
#include "shifted_row.hpp"

namespace {

constexpr int64_t SHORT_MAX = 512;
constexpr int BATCH = 8;  // rows whose logarithms are taken together
typedef Doubles<BATCH>::type batch_double;

NK_INLINE bool at_full_speed(float maximum) { return __builtin_fabsf(maximum) < FULL_SPEED_LIMIT; }

// A row of V vectors in registers; lanes beyond the row hold -inf and so add nothing.
template <class T, int V>
struct RegisterRow {
    vf v[V];
    int last;

    NK_INLINE RegisterRow(const T* x, int64_t n) : last(static_cast<int>(n) - (V - 1) * LANES) {
        for (int k = 0; k < V - 1; ++k) v[k] = load(x + k * LANES);
        v[V - 1] = load_up_to(x + (V - 1) * LANES, last, MINUS_INFINITY);
    }
    NK_INLINE float maximum() const {
        vf m = v[0];
        for (int k = 1; k < V; ++k) m = max_keep(m, v[k]);
        return horizontal_max(m);
    }
    template <bool High>
    NK_INLINE float exponentiate(const Reference& reference) {
        vf sum = {};
        for (int k = 0; k < V; ++k) sum += v[k] = exponential<High>(v[k], reference);
        return horizontal_sum(sum);
    }
    NK_INLINE void write(T* y, vf gain, bool streamed) const {
        if (streamed && last == LANES && unaligned_head(y) == 0) {
            for (int k = 0; k < V; ++k) stream(y + k * LANES, v[k] * gain);
            return;
        }
        for (int k = 0; k < V - 1; ++k) store(y + k * LANES, v[k] * gain);
        store_up_to(y + (V - 1) * LANES, v[V - 1] * gain, last);
    }
};

// Sum of the exponentials of a short row under the reference of its maximum; with Keep they are stored in e.
template <class T, bool High, bool Keep>
NK_INLINE float short_sum(const T* x, int64_t n, const Reference& reference, float* e) {
    vf sum[4] = {};
    int64_t i = 0;
    for (; n - i >= CHUNK; i += CHUNK) {
        for (int k = 0; k < 4; ++k) {
            const vf value = exponential<High>(load(x + i + k * LANES), reference);
            if (Keep) store(e + i + k * LANES, value);
            sum[k] += value;
        }
    }
    for (int k = 0; i < n; i += LANES, ++k) {
        const vf value = exponential<High>(load_up_to(x + i, part(n - i), MINUS_INFINITY), reference);
        if (Keep) store_up_to(e + i, value, part(n - i));
        sum[k] += value;
    }
    return horizontal_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

NK_INLINE float* kept_exponentials(float* y, bool streamed, float* buffer) { return streamed ? buffer : y; }
template <class H>
NK_INLINE float* kept_exponentials(H*, bool, float* buffer) {
    return buffer;
}

template <class T, bool High>
void short_softmax_row(const Job& job, int64_t row) {
    const T* x = row_a<T>(job, row);
    T* y = row_out<T>(job, row);
    const float maximum = horizontal_max(vector_maximum(x, job.dim));
    if (!at_full_speed(maximum)) return shifted_row<T, High>(job, row);
    float buffer[SHORT_MAX];
    float* e = kept_exponentials(y, job.stream, buffer);
    const float sum = short_sum<T, High, true>(x, job.dim, reference_at(reference_for(maximum)), e);
    const vf gain = broadcast(row_factor<T>(job, row) / sum);
    write_row(y, job.dim, job.stream, [&](int64_t i, int count) { return load_up_to(e + i, count, 0.0f) * gain; });
}

template <class T, bool High, int V>
void register_softmax_rows(const Job& job, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        RegisterRow<T, V> r(row_a<T>(job, row), job.dim);
        const float maximum = r.maximum();
        if (__builtin_expect(!at_full_speed(maximum), 0)) {
            shifted_row<T, High>(job, row);
            continue;
        }
        const float sum = r.template exponentiate<High>(reference_at(reference_for(maximum)));
        r.write(row_out<T>(job, row), broadcast(row_factor<T>(job, row) / sum), job.stream);
    }
}

template <class T, bool High>
void short_softmax_rows(const Job& job, int64_t begin, int64_t end) {
    switch ((job.dim + LANES - 1) / LANES) {
        case 1: return register_softmax_rows<T, High, 1>(job, begin, end);
        case 2: return register_softmax_rows<T, High, 2>(job, begin, end);
        case 3: return register_softmax_rows<T, High, 3>(job, begin, end);
        case 4: return register_softmax_rows<T, High, 4>(job, begin, end);
        case 5: return register_softmax_rows<T, High, 5>(job, begin, end);
        case 6: return register_softmax_rows<T, High, 6>(job, begin, end);
        case 7: return register_softmax_rows<T, High, 7>(job, begin, end);
        case 8: return register_softmax_rows<T, High, 8>(job, begin, end);
        default:
            for (int64_t row = begin; row < end; ++row) short_softmax_row<T, High>(job, row);
    }
}

// Sums of a batch of rows, their references, and which rows must go to shifted_row.
struct ShortBatch {
    batch_double sum, reference;
    bool refused[BATCH];
};

template <class T, bool High>
NK_INLINE void sum_batch(const Job& job, int64_t row, int count, ShortBatch& batch) {
    for (int k = 0; k < BATCH; ++k) {
        batch.sum[k] = 1.0;
        batch.reference[k] = 0.0;
        batch.refused[k] = false;
        if (k >= count) continue;
        const T* x = row_a<T>(job, row + k);
        const float maximum = horizontal_max(vector_maximum(x, job.dim));
        const float n = reference_for(maximum);
        const float sum = short_sum<T, High, false>(x, job.dim, reference_at(n), nullptr);
        batch.refused[k] = !(at_full_speed(maximum) && sum > 0.0f);  // a NaN shows in the sum
        if (batch.refused[k]) continue;
        batch.sum[k] = static_cast<double>(sum);
        batch.reference[k] = static_cast<double>(n);
    }
}

template <class T, bool High>
void short_log_rows(const Job& job, int64_t begin, int64_t end) {
    ShortBatch batch;
    for (int64_t row = begin; row < end; row += BATCH) {
        const int count = static_cast<int>(smaller(end - row, BATCH));
        sum_batch<T, High>(job, row, count, batch);
        const batch_double log_sum = batch.reference * LN_2_DOUBLE + logarithm<BATCH>(batch.sum);
        for (int k = 0; k < count; ++k) {
            if (batch.refused[k]) {
                shifted_row<T, High>(job, row + k);
            } else if (job.operation == normkit::LOGSUMEXP) {
                store_one(static_cast<T*>(job.out) + row + k, static_cast<float>(log_sum[k]));
            } else {
                const SplitLog split = split_log(log_sum[k]);
                const vf high = broadcast(split.high), low = broadcast(split.low);
                const T* x = row_a<T>(job, row + k);
                write_row(row_out<T>(job, row + k), job.dim, job.stream,
                          [&](int64_t i, int c) { return (load_up_to(x + i, c, 0.0f) - high) - low; });
            }
        }
    }
}

}  // namespace
