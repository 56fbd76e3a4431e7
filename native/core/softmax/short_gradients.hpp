// The backward passes of gradients.hpp with both inputs in registers.
#pragma once
#include "gradients.hpp"
#include "register_row.hpp"

namespace {

template <class T, int V>
NK_INLINE double dot(const RegisterRow<T, V>& a, const RegisterRow<T, V>& b) {
    vf products = {};
    for (int k = 0; k < V; ++k) products += a.v[k] * b.v[k];
    return horizontal_sum(products);
}

template <class T, bool High, int V>
void register_gradient_rows(const Job& job, int64_t begin, int64_t end) {
    const bool log_form = job.operation == normkit::LOG_SOFTMAX_BACKWARD;
    const Reference reference = reference_at(0.0f);
    for (int64_t row = begin; row < end; ++row) {
        RegisterRow<T, V> y(row_a<T>(job, row), job.dim), dy(row_b<T>(job, row), job.dim);
        y.clear_end();
        dy.clear_end();
        const vf sum = broadcast(static_cast<float>(log_form ? dy.total() : dot(y, dy)));
        for (int k = 0; k < V; ++k) {
            if (log_form) {
                const vf bounded = min_keep(broadcast(LARGEST_EXPONENT), y.v[k]);
                y.v[k] = fnma(exponential<High>(bounded, reference), sum, dy.v[k]);
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
        case 7: register_gradient_rows<T, High, 7>(job, begin, end); return true;
        case 8: register_gradient_rows<T, High, 8>(job, begin, end); return true;
        default: return false;
    }
}

}  // namespace
