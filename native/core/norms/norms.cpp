#include "norms.hpp"

#include "dispatch.hpp"
#include "long_rows.hpp"
#include "memory.hpp"
#include "row_sums.hpp"
#include "threads.hpp"

namespace normkit {
namespace {

constexpr Outcome DONE = {Outcome::DONE, ""};
constexpr Outcome NO_SCRATCH = {Outcome::NO_MEMORY, "no memory for a scratch row"};
constexpr int64_t LINE = 64;  // bytes of a cache line

// Rows to a group such that no two groups share a cache line of the output.
int64_t rows_to_a_group(int64_t dim, Storage storage) {
    int64_t rows = ROWS_TOGETHER;
    while (rows * dim * bytes_of(storage) % LINE != 0) rows *= 2;
    return rows;
}

struct Forward {
    const NormKernels& kernels;
    const NormJob& job;
    bool out_of_memory;
};

void forward_part(void* context, int64_t begin, int64_t end) {
    Forward& call = *static_cast<Forward*>(context);
    float* scratch = nullptr;
    if (call.job.residual && (!call.job.sum || call.job.stream)) {
        scratch = scratch_rows(static_cast<size_t>(call.job.dim));
        if (!scratch) {
            __atomic_store_n(&call.out_of_memory, true, __ATOMIC_RELAXED);
            return;
        }
    }
    call.kernels.forward[call.job.storage](call.job, begin, end, scratch);
}

struct Backward {
    const NormKernels& kernels;
    const NormGradient& job;
};

void add_gradients(const void* context, int64_t begin, int64_t end, float* weight, float* bias) {
    const Backward& call = *static_cast<const Backward*>(context);
    call.kernels.backward[call.job.storage](call.job, begin, end, weight, bias);
}

}  // namespace

Outcome run(NormJob job, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    if (job.rows == 0 || job.dim == 0) return DONE;
    job.stream = overflows_cache(job.rows * job.dim * bytes_of(job.storage) * (job.residual ? 4 : 2));
    const int64_t group = rows_to_a_group(job.dim, job.storage);
    if (few_long_rows((job.rows + group - 1) / group, job.dim, threads)) {
        return run_by_parts(*kernels->norms, job, threads);
    }
    Forward call = {*kernels->norms, job, false};
    share(job.rows, group, threads_for_rows(job.rows, job.dim, threads), forward_part,
          &call);
    return call.out_of_memory ? NO_SCRATCH : DONE;
}

Outcome run(NormGradient job, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    if (job.dim == 0) return DONE;
    job.stream = overflows_cache(job.rows * job.dim * bytes_of(job.storage) * 3);
    if (job.rows > 0 && few_long_rows((job.rows + ROWS_TOGETHER - 1) / ROWS_TOGETHER, job.dim, threads)) {
        return run_by_parts(*kernels->norms, job, threads);
    }
    const Backward call = {*kernels->norms, job};
    return sum_rows(&call, add_gradients, job.rows, job.dim, threads, job.weight_gradient, job.bias_gradient);
}

}  // namespace normkit
