// log_softmax and logsumexp of rows that fit in the first-level cache. Each row needs a logarithm; they are taken for
// a batch of rows at once.
#pragma once
#include "four_rows.hpp"
#include "shifted_row.hpp"
#include "subtract_log.hpp"

namespace {

// Rows of a batch: enough that the latency of one logarithm hides behind the others, few enough that the rows stay in
// L1 until they are written.
constexpr int NARROW_BATCH = 32, WIDE_BATCH = 8;

template <int ROWS>
struct LogBatch {
    double sum[ROWS];
    float reference[ROWS], high[ROWS], low[ROWS];
    double log_sum[ROWS];
    bool refused[ROWS];

    NK_INLINE void put(int k, double row_sum, float row_reference, bool row_refused) {
        sum[k] = row_sum;
        reference[k] = row_reference;
        refused[k] = row_refused;
    }
    NK_INLINE void take_logarithms() {
        typedef float singles __attribute__((vector_size(4 * 8)));
        typedef Doubles<8>::type doubles;
        for (int k = 0; k < ROWS; k += 8) {
            doubles s;
            singles n;
            memcpy(&s, sum + k, sizeof s);
            memcpy(&n, reference + k, sizeof n);
            const doubles l = __builtin_convertvector(n, doubles) * LN_2_DOUBLE + logarithm<8>(s);
            memcpy(log_sum + k, &l, sizeof l);
            const singles h = __builtin_convertvector(l, singles);
            const singles rest = __builtin_convertvector(l - __builtin_convertvector(h, doubles), singles);
            memcpy(high + k, &h, sizeof h);
            memcpy(low + k, &rest, sizeof rest);
        }
    }
};

// One row of V vectors; V = 0: of any short length. A NaN shows in the sum.
template <class T, bool High, int V, class Batch>
NK_INLINE void sum_one(const T* x, int64_t n, int k, Batch& batch) {
    double sum = 0.0;
    float maximum, reference;
    if constexpr (V > 0) {
        RegisterRow<T, V> r(x, n);
        maximum = horizontal_max(r.maxima());
        reference = reference_for(maximum);
        sum = horizontal_sum(r.template exponentiate<High>(reference_at(reference)));
    } else {
        maximum = horizontal_max(vector_maximum(x, n));
        reference = reference_for(maximum);
        sum = short_sums<T, High, false>(x, n, reference_at(reference), nullptr).total();
    }
    const bool ordinary = at_full_speed(maximum) && sum > 0.0;
    batch.put(k, ordinary ? sum : 1.0, reference, !ordinary);
}

// False if one of the four rows is not for this kernel.
template <class T, bool High, int V, class Batch>
NK_INLINE bool sum_four(const Job& job, int64_t row, int at, Batch& batch) {
    if constexpr (V > 0) {
        FourRegisterRows<T, High, V> four(job, row);
        if (!four.exponentiate()) return false;
        for (int k = 0; k < 4; ++k) batch.put(at + k, four.sum[k], four.reference.n[k], !(four.sum[k] > 0.0));
    } else {
        FourShortRows<T, High> four;
        if (!four.template exponentiate<false>(job, row, nullptr)) return false;
        for (int k = 0; k < 4; ++k) batch.put(at + k, four.sum[k], four.reference.n[k], !(four.sum[k] > 0.0));
    }
    return true;
}

template <class T, bool High, int V, class Batch>
NK_INLINE void sum_batch(const Job& job, int64_t row, int count, int room, Batch& batch) {
    int done = 0;
    while (done < count) {
        if (count - done >= 4 && sum_four<T, High, V>(job, row + done, done, batch)) {
            done += 4;
            continue;
        }
        for (const int stop = count - done < 4 ? count : done + 4; done < stop; ++done) {
            sum_one<T, High, V>(row_a<T>(job, row + done), job.dim, done, batch);
        }
    }
    for (int k = count; k < room; ++k) batch.put(k, 1.0, 0.0f, false);
}

template <class T, int V, class Batch>
NK_INLINE void write_log_row(const T* x, T* y, int64_t n, bool streamed, const Batch& batch, int row) {
    if constexpr (V > 0) {
        const RegisterRow<T, V> r(x, n);
        const SplitLog minus_log(broadcast(batch.high[row]), broadcast(batch.low[row]));
        r.write(y, streamed, [&](int k) { return minus_log(r.v[k]); });
    } else {
        const RowLog minus_log(batch.log_sum[row]);
        write_row(y, n, streamed, [&](int64_t i, int count) { return minus_log(load_up_to(x + i, count, 0.0f)); });
    }
}

template <class T, bool High, int V>
void batched_log_rows(const Job& job, int64_t begin, int64_t end) {
    constexpr int rows = V > 0 ? NARROW_BATCH : WIDE_BATCH;
    LogBatch<rows> batch;
    for (int64_t row = begin; row < end; row += rows) {
        const int count = static_cast<int>(smaller(end - row, rows));
        sum_batch<T, High, V>(job, row, count, rows, batch);
        batch.take_logarithms();
        for (int k = 0; k < count; ++k) {
            if (__builtin_expect(batch.refused[k], 0)) {
                shifted_row<T, High>(job, row + k);
            } else if (job.operation == normkit::LOGSUMEXP) {
                store_one(static_cast<T*>(job.out) + row + k, batch.high[k]);
            } else {
                write_log_row<T, V>(row_a<T>(job, row + k), row_out<T>(job, row + k), job.dim, job.stream,
                                    batch, k);
            }
        }
    }
}

template <class T, bool High>
void short_log_rows(const Job& job, int64_t begin, int64_t end) {
    const int64_t vectors = (job.dim + LANES - 1) / LANES;
    if (vectors == 1) return batched_log_rows<T, High, 1>(job, begin, end);
    if (vectors == 2) return batched_log_rows<T, High, 2>(job, begin, end);
    if (vectors == 3) return batched_log_rows<T, High, 3>(job, begin, end);
    if (vectors == 4) return batched_log_rows<T, High, 4>(job, begin, end);
    if (vectors == 5) return batched_log_rows<T, High, 5>(job, begin, end);
    if (vectors == 6) return batched_log_rows<T, High, 6>(job, begin, end);
    if (vectors == 7) return batched_log_rows<T, High, 7>(job, begin, end);
    if (vectors == 8) return batched_log_rows<T, High, 8>(job, begin, end);
    batched_log_rows<T, High, 0>(job, begin, end);
}

}  // namespace
