// Rows that fit in the first-level cache: maximum, exponentials, multiply; no moving reference.
//
// Rows of up to eight vectors never leave the registers. log_softmax and logsumexp need a logarithm per row and
// take it for a batch of rows at once.
#pragma once
#include "gradients.hpp"
#include "logarithm.hpp"
#include "shifted_row.hpp"

namespace {

constexpr int64_t SHORT_MAX = 512;
constexpr int MAX_REGISTERS = 8;  // vectors of a row that stays in registers
// Rows whose logarithms are taken together: enough that the latency of one logarithm hides behind the others, few
// enough that the rows stay in L1 until they are written.
constexpr int NARROW_BATCH = 32, WIDE_BATCH = 8;

NK_INLINE bool at_full_speed(float maximum) { return __builtin_fabsf(maximum) < FULL_SPEED_LIMIT; }

// factor / sum; a float32 division where that is enough, being several times as fast.
template <bool High>
NK_INLINE Gain<High> gain_of(float factor, double sum) {
    if (High) return Gain<High>(static_cast<double>(factor) / sum);
    return Gain<High>(static_cast<double>(factor / static_cast<float>(sum)));
}

// A row of V vectors in registers; lanes beyond the row hold -inf and so add nothing.
template <class T, int V>
struct RegisterRow {
    vf v[V];
    int last;

    NK_INLINE RegisterRow(const T* x, int64_t n) : last(static_cast<int>(n) - (V - 1) * LANES) {
        for (int k = 0; k < V - 1; ++k) v[k] = load(x + k * LANES);
        v[V - 1] = load_up_to(x + (V - 1) * LANES, last, MINUS_INFINITY);
    }
    // Lanes beyond the row to 0, for plain sums.
    NK_INLINE void clear_end() {
        if (last == LANES) return;
        float end[LANES];
        store(end, v[V - 1]);
        v[V - 1] = load_part(end, last, 0.0f);
    }
    NK_INLINE float maximum() const {
        vf m = v[0];
        for (int k = 1; k < V; ++k) m = max_keep(m, v[k]);
        return horizontal_max(m);
    }
    template <bool High>
    NK_INLINE double exponentiate(const Reference& reference) {
        vf sum = {};
        for (int k = 0; k < V; ++k) sum += v[k] = exponential<High>(v[k], reference);
        return High ? wide_sum() : static_cast<double>(horizontal_sum(sum));
    }
    NK_INLINE double wide_sum() const {
        lane_doubles wide = {};
        for (int k = 0; k < V; ++k) wide += to_doubles(v[k]);
        return horizontal_sum(wide);
    }
    template <class Value>
    NK_INLINE void write(T* y, bool streamed, Value value) const {
        if (streamed && last == LANES && unaligned_head(y) == 0) {
            for (int k = 0; k < V; ++k) stream(y + k * LANES, value(k));
            return;
        }
        for (int k = 0; k < V - 1; ++k) store(y + k * LANES, value(k));
        store_up_to(y + (V - 1) * LANES, value(V - 1), last);
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
        const double sum = r.template exponentiate<High>(reference_at(reference_for(maximum)));
        const Gain<High> gain = gain_of<High>(row_factor<T>(job, row), sum);
        r.write(row_out<T>(job, row), job.stream, [&](int k) { return gain(r.v[k]); });
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

// What a batch of rows needs for its logarithms, and which rows must go to shifted_row.
template <int ROWS>
struct ShortBatch {
    float sum[ROWS], reference[ROWS], maximum[ROWS], high[ROWS], low[ROWS];

    NK_INLINE void put(int k, float row_sum, float row_maximum, float n) {
        sum[k] = row_sum;
        reference[k] = n;
        maximum[k] = row_maximum;
    }
    // A NaN shows in the sum.
    NK_INLINE bool refused(int k) const { return !(at_full_speed(maximum[k]) && sum[k] > 0.0f); }

    NK_INLINE void take_logarithms() {
        typedef float singles __attribute__((vector_size(4 * 8)));
        typedef Doubles<8>::type doubles;
        for (int k = 0; k < ROWS; k += 8) {
            singles s, n;
            memcpy(&s, sum + k, sizeof s);
            memcpy(&n, reference + k, sizeof n);
            const doubles l = __builtin_convertvector(n, doubles) * LN_2_DOUBLE +
                              logarithm<8>(__builtin_convertvector(s, doubles));
            const singles h = __builtin_convertvector(l, singles);
            const singles rest = __builtin_convertvector(l - __builtin_convertvector(h, doubles), singles);
            memcpy(high + k, &h, sizeof h);
            memcpy(low + k, &rest, sizeof rest);
        }
    }
};

// Rows of V vectors; V = 0: of any length.
template <class T, bool High, int V, class Batch>
NK_INLINE void sum_for_batch(const T* x, int64_t n, int k, Batch& batch) {
    if constexpr (V > 0) {
        RegisterRow<T, V> r(x, n);
        const float maximum = r.maximum(), reference = reference_for(maximum);
        const double sum = r.template exponentiate<High>(reference_at(reference));
        batch.put(k, static_cast<float>(sum), maximum, reference);
    } else {
        const float maximum = horizontal_max(vector_maximum(x, n)), reference = reference_for(maximum);
        batch.put(k, short_sum<T, High, false>(x, n, reference_at(reference), nullptr), maximum, reference);
    }
}

template <class T, int V>
NK_INLINE void write_log_row(const T* x, T* y, int64_t n, bool streamed, vf high, vf low) {
    if constexpr (V > 0) {
        RegisterRow<T, V> r(x, n);
        r.write(y, streamed, [&](int k) { return (r.v[k] - high) - low; });
    } else {
        write_row(y, n, streamed,
                  [&](int64_t i, int count) { return (load_up_to(x + i, count, 0.0f) - high) - low; });
    }
}

template <class T, bool High, int V>
void batched_log_rows(const Job& job, int64_t begin, int64_t end) {
    constexpr int rows = V > 0 ? NARROW_BATCH : WIDE_BATCH;
    ShortBatch<rows> batch;
    for (int64_t row = begin; row < end; row += rows) {
        const int count = static_cast<int>(smaller(end - row, rows));
        for (int k = 0; k < count; ++k) sum_for_batch<T, High, V>(row_a<T>(job, row + k), job.dim, k, batch);
        for (int k = count; k < rows; ++k) batch.put(k, 1.0f, 0.0f, 0.0f);
        batch.take_logarithms();
        for (int k = 0; k < count; ++k) {
            if (__builtin_expect(batch.refused(k), 0)) {
                shifted_row<T, High>(job, row + k);
            } else if (job.operation == normkit::LOGSUMEXP) {
                store_one(static_cast<T*>(job.out) + row + k, batch.high[k]);
            } else {
                write_log_row<T, V>(row_a<T>(job, row + k), row_out<T>(job, row + k), job.dim, job.stream,
                                    broadcast(batch.high[k]), broadcast(batch.low[k]));
            }
        }
    }
}

template <class T, bool High>
void short_log_rows(const Job& job, int64_t begin, int64_t end) {
    switch ((job.dim + LANES - 1) / LANES) {
        case 1: return batched_log_rows<T, High, 1>(job, begin, end);
        case 2: return batched_log_rows<T, High, 2>(job, begin, end);
        case 3: return batched_log_rows<T, High, 3>(job, begin, end);
        case 4: return batched_log_rows<T, High, 4>(job, begin, end);
        default: return batched_log_rows<T, High, 0>(job, begin, end);
    }
}

template <class T, int V>
NK_INLINE double dot(const RegisterRow<T, V>& a, const RegisterRow<T, V>& b) {
    vf products = {};
    for (int k = 0; k < V; ++k) products += a.v[k] * b.v[k];
    return static_cast<double>(horizontal_sum(products));
}

// The backward passes of gradients.hpp with both inputs in registers.
template <class T, bool High, int V>
void register_gradient_rows(const Job& job, int64_t begin, int64_t end) {
    const bool log_form = job.operation == normkit::LOG_SOFTMAX_BACKWARD;
    const Reference reference = reference_at(0.0f);
    for (int64_t row = begin; row < end; ++row) {
        RegisterRow<T, V> y(row_a<T>(job, row), job.dim), dy(row_b<T>(job, row), job.dim);
        y.clear_end();
        dy.clear_end();
        const vf sum = broadcast(static_cast<float>(log_form ? dy.wide_sum() : dot(y, dy)));
        for (int k = 0; k < V; ++k) {
            if (log_form) {
                y.v[k] = fnma(exponential<High>(min_keep(broadcast(LARGEST_EXPONENT), y.v[k]), reference), sum, dy.v[k]);
            } else {
                y.v[k] = y.v[k] * (dy.v[k] - sum);
            }
        }
        y.write(row_out<T>(job, row), job.stream, [&](int k) { return y.v[k]; });
    }
}

// Whether the rows were short enough to be done here.
template <class T, bool High>
bool short_gradient_rows(const Job& job, int64_t begin, int64_t end) {
    if (job.masked_zero) return false;
    switch ((job.dim + LANES - 1) / LANES) {
        case 1: register_gradient_rows<T, High, 1>(job, begin, end); return true;
        case 2: register_gradient_rows<T, High, 2>(job, begin, end); return true;
        case 3: register_gradient_rows<T, High, 3>(job, begin, end); return true;
        case 4: register_gradient_rows<T, High, 4>(job, begin, end); return true;
        case 5: register_gradient_rows<T, High, 5>(job, begin, end); return true;
        case 6: register_gradient_rows<T, High, 6>(job, begin, end); return true;
        default: return false;
    }
}

}  // namespace
