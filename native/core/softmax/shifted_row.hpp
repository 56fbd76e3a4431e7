// Rows that the fast kernels refuse: a maximum beyond 1e6 in size, infinite or NaN.
//
// Their maximum M is subtracted first. That is exact where it matters: an element counts only if it is within
// 88 of M, and for |M| >= 1e6 such a difference has no rounding (Sterbenz 1974), so the float32 kernel stays.
#pragma once
#include <math.h>

#include "exponential.hpp"
#include "job_access.hpp"
#include "subtract_log.hpp"
#include "walks.hpp"

namespace {

template <class T>
bool row_has_nan(const T* x, int64_t n) {
    bool found = false;
    for (int64_t i = 0; i < n; i += LANES) found |= any_nan(load_up_to(x + i, part(n - i), 0.0f));
    return found;
}

// dL e^(x - L) of a row whose L is +inf, as torch has it: NaN where x is +inf too, else 0.
template <class T>
void write_infinite_gradient(const T* x, T* dx, int64_t n, float factor) {
    const vf infinite = broadcast(__builtin_inff()), zero = broadcast(0.0f * factor);
    write_row(dx, n, false, [=](int64_t i, int count) {
        return where((vi)(load_up_to(x + i, count, 0.0f) == infinite), broadcast(__builtin_nanf("")), zero);
    });
}

// The row when no element is finite enough to have a softmax.
template <class T>
void write_degenerate_row(const Job& job, int64_t row, float maximum) {
    const bool masked = maximum == MINUS_INFINITY;
    if (job.operation == normkit::LOGSUMEXP) {
        store_one(static_cast<T*>(job.out) + row, maximum);
        return;
    }
    if (job.operation == normkit::SOFTMAX_PAIR) {
        store_pair(job, row, masked ? FloatPair{0.0f, MINUS_INFINITY} : FloatPair{maximum, 0.0f});
        return;
    }
    if (job.operation == normkit::LOGSUMEXP_BACKWARD && maximum > 0.0f) {
        return write_infinite_gradient(row_a<T>(job, row), row_out<T>(job, row), job.dim, row_factor<T>(job, row));
    }
    const float of_masked = job.operation == normkit::LOG_SOFTMAX ? MINUS_INFINITY : 0.0f;
    fill_row(row_out<T>(job, row), job.dim, masked && job.masked_zero ? of_masked : __builtin_nanf(""));
}

template <class T, bool High>
void shifted_row(const Job& job, int64_t row) {
    const T* x = row_a<T>(job, row);
    const float maximum = row_has_nan(x, job.dim) ? __builtin_nanf("") : horizontal_max(vector_maximum(x, job.dim));
    if (!__builtin_isfinite(maximum)) return write_degenerate_row<T>(job, row, maximum);

    const Reference reference = reference_at(0.0f);
    const vf shift = broadcast(maximum);
    const auto term = [&](int64_t i, int count) {
        return exponential<High>(load_up_to(x + i, count, MINUS_INFINITY) - shift, reference);
    };
    const double sum = blocked_sum(job.dim, term);
    const double log_sum = static_cast<double>(maximum) + log(sum);
    if (job.operation == normkit::LOGSUMEXP) {
        store_one(static_cast<T*>(job.out) + row, static_cast<float>(log_sum));
    } else if (job.operation == normkit::SOFTMAX_PAIR) {
        store_pair(job, row, pair_of_logarithm(log_sum));
    } else if (job.operation == normkit::LOG_SOFTMAX) {
        const SplitLog minus_log(log_sum);
        write_row(row_out<T>(job, row), job.dim, false,
                  [&](int64_t i, int count) { return minus_log(load_up_to(x + i, count, 0.0f)); });
    } else {
        const vf gain = broadcast(static_cast<float>(static_cast<double>(row_factor<T>(job, row)) / sum));
        write_row(row_out<T>(job, row), job.dim, false, [&](int64_t i, int count) { return term(i, count) * gain; });
    }
}

}  // namespace
