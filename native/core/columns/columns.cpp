#include "columns.hpp"

#include "dispatch.hpp"
#include "row_sums.hpp"

namespace normkit {
namespace {

constexpr Outcome DONE = {Outcome::DONE, ""};

template <class Job>
struct Call {
    const ColumnKernels& kernels;
    const Job& job;
};

void forward(const void* context, int64_t begin, int64_t end, float* squares, float* left_out) {
    const Call<ColumnJob>& call = *static_cast<const Call<ColumnJob>*>(context);
    call.kernels.forward[call.job.storage](call.job, begin, end, squares, left_out);
}

void backward(const void* context, int64_t begin, int64_t end, float* along_u, float* along_one) {
    const Call<ColumnGradient>& call = *static_cast<const Call<ColumnGradient>*>(context);
    call.kernels.backward[call.job.storage](call.job, begin, end, along_u, along_one);
}

}  // namespace

Outcome run(ColumnJob job, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    if (job.channels == 0) return DONE;
    job.stream = overflows_cache(job.rows * job.channels * bytes_of(job.storage) * 2);
    const Call<ColumnJob> call = {*kernels->columns, job};
    return sum_rows(&call, forward, job.rows, job.channels, threads, job.squares, job.left_out_squares);
}

Outcome run(ColumnGradient job, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    if (job.channels == 0) return DONE;
    job.stream = overflows_cache(job.rows * job.channels * bytes_of(job.storage) * 3);
    const Call<ColumnGradient> call = {*kernels->columns, job};
    return sum_rows(&call, backward, job.rows, job.channels, threads, job.along_u, job.along_one);
}

}  // namespace normkit
