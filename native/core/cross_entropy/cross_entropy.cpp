#include "cross_entropy.hpp"

#include <atomic>
#include <cstdio>

#include "dispatch.hpp"
#include "memory.hpp"
#include "threads.hpp"

namespace normkit {
namespace {

constexpr Outcome DONE = {Outcome::DONE, ""};
constexpr int64_t ROWS_PER_LINE = 16;  // float32 results of so many rows share a cache line

struct Call {
    const CrossEntropyKernels& kernels;
    const CrossEntropyJob& job;
    std::atomic<int64_t> bad_row;
};

void run_losses(void* context, int64_t begin, int64_t end) {
    Call& call = *static_cast<Call*>(context);
    const int64_t stopped = call.kernels.losses[call.job.storage](call.job, begin, end);
    if (stopped == end) return;
    int64_t known = call.bad_row.load();
    while ((known < 0 || stopped < known) && !call.bad_row.compare_exchange_weak(known, stopped)) {
    }
}

void run_gradients(void* context, int64_t begin, int64_t end) {
    const Call& call = *static_cast<Call*>(context);
    call.kernels.gradients[call.job.storage](call.job, begin, end);
}

int threads_for(const CrossEntropyJob& job, int wanted) {
    return job.rows * job.classes < thresholds().serial ? 1 : usable_threads(wanted);
}

double sum_of_classes(const CrossEntropyJob& job) {
    if (!job.weight) return static_cast<double>(job.classes);
    double sum = 0.0;
    for (int64_t c = 0; c < job.classes; ++c) sum += static_cast<double>(job.weight[c]);
    return sum;
}

// What a mean divides by: the weights of the rows' classes, ignored rows left out.
double sum_of_targets(const CrossEntropyJob& job) {
    double sum = 0.0;
    for (int64_t row = 0; row < job.rows; ++row) {
        const int64_t t = job.target[row];
        if (t != job.ignore_index) sum += job.weight ? static_cast<double>(job.weight[t]) : 1.0;
    }
    return sum;
}

double sum_of_losses(const CrossEntropyJob& job) {
    double sum = 0.0;
    for (int64_t row = 0; row < job.rows; ++row) sum += static_cast<double>(job.loss[row]);
    return sum;
}

Outcome bad_target(const CrossEntropyJob& job, int64_t row) {
    static thread_local char message[96];
    std::snprintf(message, sizeof message, "Target %lld is out of bounds.", static_cast<long long>(job.target[row]));
    return {Outcome::BAD_INDEX, message};
}

int64_t dx_bytes(const CrossEntropyJob& job) { return job.rows * job.classes * (job.storage == FLOAT32 ? 4 : 2); }

}  // namespace

Outcome cross_entropy(CrossEntropyJob job, Reduction reduction, float* reduced, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    job.class_weights = sum_of_classes(job);
    Call call = {*kernels->cross_entropy, job, {-1}};
    share(job.rows, ROWS_PER_LINE, threads_for(job, threads), run_losses, &call);
    if (call.bad_row >= 0) return bad_target(job, call.bad_row);
    if (reduction == NONE) return DONE;
    const double total = reduction == MEAN ? sum_of_targets(job) : 1.0;
    *reduced = static_cast<float>(sum_of_losses(job) / total);
    return DONE;
}

Outcome cross_entropy_backward(CrossEntropyJob job, Reduction reduction, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    job.class_weights = sum_of_classes(job);
    job.grad_scale = reduction == MEAN ? 1.0 / sum_of_targets(job) : 1.0;
    job.stream = dx_bytes(job) > cache_bytes() / 2;
    Call call = {*kernels->cross_entropy, job, {-1}};
    share(job.rows, ROWS_PER_LINE, threads_for(job, threads), run_gradients, &call);
    return DONE;
}

}  // namespace normkit
