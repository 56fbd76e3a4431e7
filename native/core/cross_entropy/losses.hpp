// The forward pass of cross-entropy: one sum of exponentials a row, as the softmax family takes it, logarithms for
// eight rows at once.
#pragma once
#include "../softmax/long_rows.hpp"
#include "../softmax/short_logs.hpp"
#include "job.hpp"

namespace {

using normkit::CrossEntropyJob;

constexpr int LOSS_BATCH = 8;
constexpr int LONG = -1;  // in place of a number of vectors: rows that do not stay in L1
typedef LogBatch<LOSS_BATCH> LossBatch;

template <class T>
NK_INLINE const T* logits(const CrossEntropyJob& job, int64_t row) {
    return static_cast<const T*>(job.x) + row * job.stride;
}
NK_INLINE double class_weight(const CrossEntropyJob& job, int64_t c) {
    return job.weight ? static_cast<double>(job.weight[c]) : 1.0;
}

// log sum e^x of a row that the fast kernels refuse. NaN for one with +inf, which has no probabilities.
template <class T>
double shifted_log_sum(const T* x, int64_t n) {
    if (row_has_nan(x, n)) return __builtin_nan("");
    const float maximum = horizontal_max(vector_maximum(x, n));
    if (!__builtin_isfinite(maximum)) return maximum < 0.0f ? static_cast<double>(maximum) : __builtin_nan("");
    const Reference reference = reference_at(0.0f);
    const vf shift = broadcast(maximum);
    return static_cast<double>(maximum) + log(blocked_sum(n, [&](int64_t i, int count) {
               return exponential<false>(load_up_to(x + i, count, MINUS_INFINITY) - shift, reference);
           }));
}

// sum_j w_j (L - x_j). L is subtracted first, rounded, and its rest at the end: the sum of the x_j themselves would
// lose what distinguishes them where they are all large.
template <class T>
double smooth_sum(const CrossEntropyJob& job, const T* x, double log_sum) {
    const float* w = job.weight;
    const float rounded = static_cast<float>(log_sum);
    const vf high = broadcast(rounded);
    const auto difference = [=](int64_t i, int count) { return high - load_up_to(x + i, count, rounded); };
    const double sum = !w ? blocked_sum(job.classes, difference) : blocked_sum(job.classes, [=](int64_t i, int count) {
        return difference(i, count) * load_up_to(w + i, count, 0.0f);
    });
    return sum + job.class_weights * (log_sum - static_cast<double>(rounded));
}

template <class T>
double loss_of(const CrossEntropyJob& job, int64_t row, double log_sum) {
    const T* x = logits<T>(job, row);
    const int64_t t = job.target[row];
    double loss = (1.0 - job.smoothing) * class_weight(job, t) * (log_sum - static_cast<double>(load_one(x + t)));
    if (job.smoothing != 0.0) {
        loss += job.smoothing / static_cast<double>(job.classes) * smooth_sum(job, x, log_sum);
    }
    return loss;
}

NK_INLINE void keep_pair(const CrossEntropyJob& job, int64_t row, FloatPair pair) {
    job.mantissa[row] = pair.mantissa;
    job.exponent[row] = pair.exponent;
}

template <class T>
NK_INLINE void write_loss(const CrossEntropyJob& job, int64_t row, const LossBatch& batch, int k) {
    if (job.target[row] == job.ignore_index) {
        keep_pair(job, row, {1.0f, 0.0f});
        job.loss[row] = 0.0f;
    } else if (__builtin_expect(batch.refused[k], 0)) {
        keep_pair(job, row, {0.0f, 0.0f});
        job.loss[row] = static_cast<float>(loss_of<T>(job, row, shifted_log_sum(logits<T>(job, row), job.classes)));
    } else {
        keep_pair(job, row, pair_of(batch.sum[k], batch.reference[k]));
        job.loss[row] = static_cast<float>(loss_of<T>(job, row, batch.log_sum[k]));
    }
}

template <class T>
void sum_long_rows(const CrossEntropyJob& job, int64_t row, int count, LossBatch& batch) {
    for (int k = 0; k < LOSS_BATCH; ++k) {
        if (k >= count || job.target[row + k] == job.ignore_index) {
            batch.put(k, 1.0, 0.0f, false);
            continue;
        }
        Partial p;
        sum_exponentials<T, false, false>(logits<T>(job, row + k), nullptr, job.classes, p);
        const bool ordinary = is_ordinary(p);
        batch.put(k, ordinary ? p.sum : 1.0, p.reference, !ordinary);
    }
}

// The first of `count` rows whose target is no class, `count` if there is none.
NK_INLINE int first_bad_target(const CrossEntropyJob& job, int64_t row, int count) {
    for (int k = 0; k < count; ++k) {
        const int64_t t = job.target[row + k];
        if (t != job.ignore_index && (t < 0 || t >= job.classes)) return k;
    }
    return count;
}

template <class T, int V>
int64_t batched_losses(const CrossEntropyJob& job, int64_t begin, int64_t end) {
    Job rows = {};
    rows.a = job.x;
    rows.a_stride = job.stride;
    rows.dim = job.classes;
    LossBatch batch;
    for (int64_t row = begin; row < end; row += LOSS_BATCH) {
        const int count = static_cast<int>(smaller(end - row, LOSS_BATCH));
        const int good = first_bad_target(job, row, count);
        if (good < count) return row + good;
        if constexpr (V == LONG) {
            sum_long_rows<T>(job, row, count, batch);
        } else {
            sum_batch<T, false, V>(rows, row, count, LOSS_BATCH, batch);
        }
        batch.take_logarithms();
        for (int k = 0; k < count; ++k) write_loss<T>(job, row + k, batch, k);
    }
    return end;
}

template <class T>
int64_t losses(const CrossEntropyJob& job, int64_t begin, int64_t end) {
    if (job.classes <= LANES) return batched_losses<T, 1>(job, begin, end);
    if (job.classes <= SHORT_MAX) return batched_losses<T, 0>(job, begin, end);
    return batched_losses<T, LONG>(job, begin, end);
}

}  // namespace
