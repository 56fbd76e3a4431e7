// The softmax family's kernels for one instruction set (isa.hpp); all but the table has internal linkage.
#include "job.hpp"
#include "isa.hpp"

#include "columns.hpp"
#include "long_rows.hpp"
#include "paper_variants.hpp"
#include "short_gradients.hpp"
#include "short_logs.hpp"
#include "short_softmax.hpp"
#include "streamed_rows.hpp"

namespace {

using namespace normkit;

bool needs_plain_sum(const Job& job) {
    return job.operation == SOFTMAX_BACKWARD || job.operation == LOG_SOFTMAX_BACKWARD;
}
bool writes_softmax(const Job& job) { return job.operation == SOFTMAX || job.operation == LOGSUMEXP_BACKWARD; }

// Where the exponentials of pass 1 are kept until pass 2, or null if it computes them again.
float* place_to_keep(const Job& job, float* y, float* scratch) {
    if (!writes_softmax(job)) return nullptr;
    return job.path == RELOAD ? y : job.path == SCRATCH ? scratch : nullptr;
}
template <class H>
float* place_to_keep(const Job& job, H*, float* scratch) {
    return writes_softmax(job) && job.path == SCRATCH ? scratch : nullptr;
}

template <class T, bool High>
void reduce(const Job& job, int64_t row, int64_t start, int64_t count, float* scratch, Partial& sum) {
    if (needs_plain_sum(job)) {
        sum.sum = gradient_sum<T>(job, row, start, count);
        sum.reference = 0.0f;
        return;
    }
    const T* x = row_a<T>(job, row) + start;
    float* e = place_to_keep(job, row_out<T>(job, row) + start, scratch);
    if (e) {
        sum_exponentials<T, High, true>(x, e, count, sum);
    } else {
        sum_exponentials<T, High, false>(x, nullptr, count, sum);
    }
}

// Whether log y, and so the row it came from, is -inf throughout.
template <class T>
bool is_masked(const T* log_y, int64_t n) {
    const vf infinite = broadcast(MINUS_INFINITY);
    for (int64_t i = 0; i < n; i += LANES) {
        const vf v = load_up_to(log_y + i, part(n - i), MINUS_INFINITY);
        if (any_greater(v, infinite) || any_nan(v)) return false;
    }
    return true;
}

template <class T, bool High>
bool finish_whole(const Job& job, int64_t row, const Partial& whole) {
    if (needs_plain_sum(job)) {
        const bool masked = job.masked_zero && job.operation == LOG_SOFTMAX_BACKWARD &&
                            is_masked(row_a<T>(job, row), job.dim);
        if (masked) fill_row(row_out<T>(job, row), job.dim, 0.0f);
        return masked;
    }
    if (!is_ordinary(whole)) {
        shifted_row<T, High>(job, row);
        return true;
    }
    if (job.operation == LOGSUMEXP) store_one(static_cast<T*>(job.out) + row, static_cast<float>(log_of(whole)));
    if (job.operation == SOFTMAX_PAIR) store_pair(job, row, pair_of(whole.sum, whole.reference));
    return job.operation == LOGSUMEXP || job.operation == SOFTMAX_PAIR;
}

template <class T>
void write_log_softmax(const Job& job, int64_t row, int64_t start, int64_t count, const Partial& whole) {
    const T* x = row_a<T>(job, row) + start;
    const RowLog minus_log(log_of(whole));
    write_row_again(row_out<T>(job, row) + start, count, job.stream,
                        [&](int64_t i, int c) { return minus_log(load_up_to(x + i, c, 0.0f)); });
}

template <class T, bool High>
void finish(const Job& job, int64_t row, int64_t start, int64_t count, float* scratch, const Partial& own,
            const Partial& whole) {
    if (needs_plain_sum(job)) return write_gradient<T, High>(job, row, start, count, whole.sum);
    if (job.operation == LOG_SOFTMAX) return write_log_softmax<T>(job, row, start, count, whole);
    T* y = row_out<T>(job, row) + start;
    const float factor = row_factor<T>(job, row);
    const float* e = place_to_keep(job, y, scratch);
    if (e) return scale_segments(e, y, count, job.stream && job.path == SCRATCH, own, whole, factor);
    recompute_row<T, High>(row_a<T>(job, row) + start, y, count, job.stream, whole, factor);
}

template <class T, bool High>
void long_rows(const Job& job, int64_t begin, int64_t end, float* scratch) {
    for (int64_t row = begin; row < end; ++row) {
        Partial sum;
        reduce<T, High>(job, row, 0, job.dim, scratch, sum);
        if (!finish_whole<T, High>(job, row, sum)) finish<T, High>(job, row, 0, job.dim, scratch, sum, sum);
    }
}

template <class T>
void paper_rows(const Job&, int64_t, int64_t) {}
template <>
void paper_rows<float>(const Job& job, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const float* x = row_a<float>(job, row);
        float* y = row_out<float>(job, row);
        if (job.path == TWO_PASS_PAPER) two_pass_paper_row(x, y, job.dim, job.stream);
        if (job.path == THREE_PASS_RELOAD) three_pass_row<true>(x, y, job.dim, job.stream);
        if (job.path == THREE_PASS_RECOMPUTE) three_pass_row<false>(x, y, job.dim, job.stream);
    }
}

template <class T, bool High>
void rows_by_path(const Job& job, int64_t begin, int64_t end, float* scratch) {
    if (job.path >= TWO_PASS_PAPER) return paper_rows<T>(job, begin, end);
    if (job.path == SCRATCH && job.stream && writes_softmax(job)) {
        return streamed_softmax_rows<T, High>(job, begin, end, scratch);
    }
    if (needs_plain_sum(job) && short_gradient_rows<T, High>(job, begin, end)) return;
    const bool in_registers = job.dim <= REGISTER_VECTORS * LANES;
    // Sums of a short row have no blocks; where accuracy is asked for, long_rows adds them in double.
    if (High && !in_registers) return long_rows<T, High>(job, begin, end, scratch);
    if (job.path != SHORT_ROW || needs_plain_sum(job)) return long_rows<T, High>(job, begin, end, scratch);
    if (writes_softmax(job)) return short_softmax_rows<T, High>(job, begin, end);
    short_log_rows<T, High>(job, begin, end);
}

template <class T>
void rows(const Job& job, int64_t begin, int64_t end, float* scratch) {
    job.high ? rows_by_path<T, true>(job, begin, end, scratch) : rows_by_path<T, false>(job, begin, end, scratch);
    if (job.stream) stream_fence();
}
template <class T>
void columns(const Job& job, int64_t begin, int64_t end) {
    job.high ? column_groups<T, true>(job, begin, end) : column_groups<T, false>(job, begin, end);
}
template <class T>
void reduce_piece(const Job& job, int64_t row, int64_t start, int64_t count, Partial& sum) {
    job.high ? reduce<T, true>(job, row, start, count, nullptr, sum)
             : reduce<T, false>(job, row, start, count, nullptr, sum);
}
template <class T>
void finish_piece(const Job& job, int64_t row, int64_t start, int64_t count, const Partial& own,
                  const Partial& whole) {
    job.high ? finish<T, true>(job, row, start, count, nullptr, own, whole)
             : finish<T, false>(job, row, start, count, nullptr, own, whole);
    if (job.stream) stream_fence();
}
template <class T>
bool finish_row(const Job& job, int64_t row, const Partial& whole) {
    return job.high ? finish_whole<T, true>(job, row, whole) : finish_whole<T, false>(job, row, whole);
}

}  // namespace

namespace normkit {

extern const SoftmaxKernels NORMKIT_FOR(softmax);
const SoftmaxKernels NORMKIT_FOR(softmax) = {
    {rows<float>, rows<bf16>, rows<f16>},
    {columns<float>, columns<bf16>, columns<f16>},
    COLUMN_GROUP,
    {reduce_piece<float>, reduce_piece<bf16>, reduce_piece<f16>},
    {finish_piece<float>, finish_piece<bf16>, finish_piece<f16>},
    {finish_row<float>, finish_row<bf16>, finish_row<f16>},
};

}  // namespace normkit
