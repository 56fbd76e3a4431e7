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

// Remembers the first row at which a thread had to stop.
void note(Call& call, int64_t stopped, int64_t end) {
    if (stopped == end) return;
    int64_t known = call.bad_row.load();
    while ((known < 0 || stopped < known) && !call.bad_row.compare_exchange_weak(known, stopped)) {
    }
}

void run_losses(void* context, int64_t begin, int64_t end) {
    Call& call = *static_cast<Call*>(context);
    note(call, call.kernels.losses[call.job.storage](call.job, begin, end), end);
}

void run_both(void* context, int64_t begin, int64_t end) {
    Call& call = *static_cast<Call*>(context);
    note(call, call.kernels.losses_and_gradients[call.job.storage](call.job, begin, end), end);
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
        if (t == job.ignore_index || t < 0 || t >= job.classes) continue;  // the kernels report the latter
        sum += job.weight ? static_cast<double>(job.weight[t]) : 1.0;
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

Outcome run_forward(const CrossEntropyJob& job, Task task, double total, float* reduced, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    Call call = {*kernels->cross_entropy, job, {-1}};
    share(job.rows, ROWS_PER_LINE, threads_for(job, threads), task, &call);
    if (call.bad_row >= 0) return bad_target(job, call.bad_row);
    if (reduced) *reduced = static_cast<float>(sum_of_losses(job) / total);
    return DONE;
}

}  // namespace

bool gradient_fits_cache(const CrossEntropyJob& job) {
    return !overflows_cache(job.rows * job.classes * bytes_of(job.storage));
}

Outcome cross_entropy(CrossEntropyJob job, Reduction reduction, float* reduced, int threads) {
    job.class_weights = sum_of_classes(job);
    const double total = reduction == MEAN ? sum_of_targets(job) : 1.0;
    return run_forward(job, run_losses, total, reduction == NONE ? nullptr : reduced, threads);
}

Outcome cross_entropy_with_gradient(CrossEntropyJob job, Reduction reduction, float* reduced, int threads) {
    static const float one = 1.0f;
    job.class_weights = sum_of_classes(job);
    const double total = reduction == MEAN ? sum_of_targets(job) : 1.0;
    job.grad = &one;
    job.grad_stride = 0;
    job.grad_scale = 1.0 / total;
    job.stream = !gradient_fits_cache(job);
    return run_forward(job, run_both, total, reduced, threads);
}

Outcome cross_entropy_backward(CrossEntropyJob job, Reduction reduction, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    job.class_weights = sum_of_classes(job);
    job.grad_scale = reduction == MEAN ? 1.0 / sum_of_targets(job) : 1.0;
    job.stream = !gradient_fits_cache(job);
    Call call = {*kernels->cross_entropy, job, {-1}};
    share(job.rows, ROWS_PER_LINE, threads_for(job, threads), run_gradients, &call);
    return DONE;
}

}  // namespace normkit
