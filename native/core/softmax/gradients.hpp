// The backward passes that need one plain sum of the row: softmax and log-softmax.
//
//   softmax      dx = y (dy - sum(y dy))
//   log_softmax  dx = dy - e^(log y) sum(dy)
#pragma once
#include "exponential.hpp"
#include "gain.hpp"
#include "job_access.hpp"
#include "walks.hpp"

namespace {

constexpr float LARGEST_EXPONENT = 88.0f;  // e^x is still finite here; log-probabilities are far below

typedef Doubles<LANES / 2>::type half_doubles;
typedef float half_floats __attribute__((vector_size(2 * LANES)));

NK_INLINE half_doubles load_half_doubles(const float* p) {
    half_floats v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, half_doubles);
}
template <class H>
NK_INLINE half_doubles load_half_doubles(const H* p) {
    float wide[LANES];
    store(wide, load_part(p, LANES / 2, 0.0f));
    return load_half_doubles(wide);
}

// Sum of x in doubles throughout: the terms of a gradient cancel, so that float32 sums of them would be off by parts of
// the largest, not of the result. (The products y dy do not need it: y is small where there are many.)
template <class T>
NK_INLINE double double_sum(const T* x, int64_t n) {
    constexpr int half = LANES / 2;
    half_doubles sum[4] = {};
    int64_t i = 0;
    for (; n - i >= 2 * LANES; i += 2 * LANES) {
        for (int k = 0; k < 4; ++k) sum[k] += load_half_doubles(x + i + k * half);
    }
    double total = 0.0;
    const half_doubles pairs = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    for (int lane = 0; lane < half; ++lane) total += pairs[lane];
    for (; i < n; i += LANES) total += horizontal_sum(to_doubles(load_up_to(x + i, part(n - i), 0.0f)));
    return total;
}

template <class T>
NK_INLINE double gradient_sum(const Job& job, int64_t row, int64_t start, int64_t n) {
    const T* dy = row_b<T>(job, row) + start;
    if (job.operation == normkit::LOG_SOFTMAX_BACKWARD) {
        return double_sum(dy, n);
    }
    const T* y = row_a<T>(job, row) + start;
    return blocked_sum(
        n, [&](int64_t i, int count) { return load_up_to(y + i, count, 0.0f) * load_up_to(dy + i, count, 0.0f); });
}

// Backwards if the start of the row may have left the first-level cache by the time its end was read.
template <class T, class Value>
NK_INLINE void write_gradient_row(T* dx, int64_t n, bool streamed, Value value) {
    if (n <= 2048) return write_row(dx, n, streamed, value);
    write_row_again(dx, n, streamed, value);
}

template <class T, bool High>
NK_INLINE void write_gradient(const Job& job, int64_t row, int64_t start, int64_t n, double row_sum) {
    const T* y = row_a<T>(job, row) + start;
    const T* dy = row_b<T>(job, row) + start;
    T* dx = row_out<T>(job, row) + start;
    const vf sum = broadcast(static_cast<float>(row_sum));
    if (job.operation == normkit::LOG_SOFTMAX_BACKWARD) {
        const Reference reference = reference_at(0.0f);
        const vf ceiling = broadcast(LARGEST_EXPONENT);
        write_gradient_row(dx, n, job.stream, [&](int64_t i, int count) {
            const vf log_y = min_keep(ceiling, load_up_to(y + i, count, 0.0f));
            return fnma(exponential<High>(log_y, reference), sum, load_up_to(dy + i, count, 0.0f));
        });
    } else {
        write_gradient_row(dx, n, job.stream, [&](int64_t i, int count) {
            return load_up_to(y + i, count, 0.0f) * (load_up_to(dy + i, count, 0.0f) - sum);
        });
    }
}

}  // namespace
