// The backward pass of cross-entropy: the exponentials are computed again, under the sum that the forward pass kept,
// and the target's share is subtracted before the result is rounded and written.
#pragma once
#include "losses.hpp"

namespace {

// dx_j = all softmax(x)_j - hot [j = t] - smooth w_j
struct GradientTerms {
    double all;
    float hot, smooth;

    NK_INLINE GradientTerms(const CrossEntropyJob& job, int64_t row) {
        const double g = static_cast<double>(job.grad[row * job.grad_stride]) * job.grad_scale;
        const double own = g * (1.0 - job.smoothing) * class_weight(job, job.target[row]);
        const double share = g * job.smoothing / static_cast<double>(job.classes);
        all = own + share * job.class_weights;
        hot = static_cast<float>(own);
        smooth = static_cast<float>(share);
    }
};

// `scaled(x, i, count)` is all softmax(x) of the elements from i on.
template <class T, class Scaled>
NK_INLINE void write_loss_gradient(const CrossEntropyJob& job, int64_t row, const GradientTerms& terms, Scaled scaled) {
    const T* x = logits<T>(job, row);
    T* dx = static_cast<T*>(job.dx) + row * job.classes;
    const int64_t t = job.target[row];
    const float hot = terms.hot;
    const auto without_hot = [=](vf v, int64_t i) __attribute__((always_inline)) {
        const uint64_t lane = static_cast<uint64_t>(t - i);
        if (__builtin_expect(lane < LANES, 0)) v[lane] -= hot;
        return v;
    };
    const auto plain = [=](int64_t i, int count) __attribute__((always_inline)) {
        return without_hot(scaled(x, i, count), i);
    };
    if (job.smoothing == 0.0) return write_row(dx, job.classes, job.stream, plain);
    const vf smooth = broadcast(terms.smooth);
    const float* w = job.weight;
    if (!w) {
        return write_row(dx, job.classes, job.stream, [=](int64_t i, int count) __attribute__((always_inline)) {
            return plain(i, count) - smooth;
        });
    }
    write_row(dx, job.classes, job.stream, [=](int64_t i, int count) __attribute__((always_inline)) {
        return fnma(smooth, load_up_to(w + i, count, 0.0f), plain(i, count));
    });
}

// The gradient of a row that the fast kernels refuse.
template <class T>
void shifted_loss_gradient(const CrossEntropyJob& job, int64_t row, const GradientTerms& terms) {
    const T* x = logits<T>(job, row);
    const double log_sum = shifted_log_sum(x, job.classes);
    T* dx = static_cast<T*>(job.dx) + row * job.classes;
    if (!__builtin_isfinite(log_sum)) return fill_row(dx, job.classes, __builtin_nanf(""));
    const float maximum = horizontal_max(vector_maximum(x, job.classes));
    const vf shift = broadcast(maximum);
    const vf gain = broadcast(static_cast<float>(terms.all * exp(static_cast<double>(maximum) - log_sum)));
    const Reference reference = reference_at(0.0f);
    write_loss_gradient<T>(job, row, terms, [=](const T* from, int64_t i, int count) {
        return exponential<false>(load_up_to(from + i, count, MINUS_INFINITY) - shift, reference) * gain;
    });
}

template <class T>
void gradients(const CrossEntropyJob& job, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        if (job.target[row] == job.ignore_index) {
            write_row(static_cast<T*>(job.dx) + row * job.classes, job.classes, job.stream,
                      [](int64_t, int) { return vf{}; });
            continue;
        }
        const GradientTerms terms(job, row);
        if (job.mantissa[row] == 0.0f) {
            shifted_loss_gradient<T>(job, row, terms);
            continue;
        }
        const Reference r = reference_at(job.exponent[row]);
        const vf gain = broadcast(static_cast<float>(terms.all / static_cast<double>(job.mantissa[row])));
        write_loss_gradient<T>(job, row, terms, [=](const T* x, int64_t i, int count) __attribute__((always_inline)) {
            return exponential_with<false, true>(load_up_to(x + i, count, MINUS_INFINITY), r.bias, r.floor, gain);
        });
    }
    if (job.stream) stream_fence();
}

}  // namespace
