// Loss and gradient in one go, where what the loss's own gradient will be is known: the logits cross memory once, and
// the exponentials of a long float32 row wait in dx for their sum.
#pragma once
#include "gradients.hpp"

namespace {

// dx holds the row's exponentials; false if they stand under several references or their sum is not ordinary.
NK_INLINE bool finish_kept_row(const CrossEntropyJob& job, int64_t row, const Partial& p) {
    if (!is_ordinary(p) || p.live != 1 || p.dead_end != 0) return false;
    keep_pair(job, row, pair_of(p.sum, p.reference));
    job.loss[row] = static_cast<float>(loss_of<float>(job, row, log_of(p)));
    const GradientTerms terms(job, row);
    const vf gain = broadcast(static_cast<float>(terms.all / p.sum));
    const float* e = static_cast<const float*>(job.dx) + row * job.classes;
    write_loss_gradient<float>(job, row, terms, [=](const float*, int64_t i, int count) __attribute__((always_inline)) {
        return load_up_to(e + i, count, 0.0f) * gain;
    });
    return true;
}

template <class T>
int64_t loss_and_gradient_of_some(const CrossEntropyJob& job, int64_t begin, int64_t end) {
    const int64_t stopped = losses<T>(job, begin, end);
    if (stopped == end) gradients<T>(job, begin, end);
    return stopped;
}

template <class T>
int64_t losses_and_gradients(const CrossEntropyJob& job, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row += LOSS_BATCH) {
        const int64_t next = smaller(row + LOSS_BATCH, end);
        const int64_t stopped = loss_and_gradient_of_some<T>(job, row, next);
        if (stopped < next) return stopped;
    }
    return end;
}
template <>
int64_t losses_and_gradients<float>(const CrossEntropyJob& job, int64_t begin, int64_t end) {
    const bool keeps = job.classes > SHORT_MAX && job.x != job.dx;
    for (int64_t row = begin; row < end;) {
        const int64_t next = keeps ? row + 1 : smaller(row + LOSS_BATCH, end);
        if (keeps && job.target[row] != job.ignore_index) {
            if (first_bad_target(job, row, 1) == 0) return row;
            Partial p;
            float* e = static_cast<float*>(job.dx) + row * job.classes;
            sum_exponentials<float, false, true>(logits<float>(job, row), e, job.classes, p);
            if (finish_kept_row(job, row, p)) {
                row = next;
                continue;
            }
        }
        const int64_t stopped = loss_and_gradient_of_some<float>(job, row, next);
        if (stopped < next) return stopped;
        row = next;
    }
    return end;
}

}  // namespace
