#include "norms.hpp"

#include <cstdlib>
#include <cstring>

#include "dispatch.hpp"
#include "memory.hpp"
#include "threads.hpp"

namespace normkit {
namespace {

constexpr Outcome DONE = {Outcome::DONE, ""};
constexpr Outcome NO_SCRATCH = {Outcome::NO_MEMORY, "no memory for a scratch row"};
constexpr int64_t TOGETHER = 4;       // rows that the kernels take at once
constexpr int64_t LINE = 64;          // bytes of a cache line
constexpr int64_t ROWS_A_SUM = 256;   // rows whose gradients are added in float32 before they go into a double

int64_t bytes_of(Storage storage) { return storage == FLOAT32 ? 4 : 2; }

bool overflows_cache(int64_t elements, Storage storage, int64_t tensors) {
    return elements * bytes_of(storage) * tensors > cache_bytes() / 2;
}

// Rows to a group such that no two groups share a cache line of the output.
int64_t rows_to_a_group(int64_t dim, Storage storage) {
    int64_t rows = TOGETHER;
    while (rows * dim * bytes_of(storage) % LINE != 0) rows *= 2;
    return rows;
}

int threads_for(int64_t rows, int64_t dim, int wanted) {
    if (rows * dim < thresholds().serial) return 1;
    const int64_t groups = (rows + TOGETHER - 1) / TOGETHER;
    const int threads = usable_threads(wanted);
    return groups < threads ? static_cast<int>(groups) : threads;
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

// The sums of one thread: Σ over its rows of what each adds to the gradients of weight and bias.
struct Part {
    float *weight, *bias;          // of at most ROWS_A_SUM rows
    double *weight_sum, *bias_sum;
};

struct Backward {
    const NormKernels& kernels;
    const NormGradient& job;
    Part* parts;
    int64_t count;

    int64_t boundary(int64_t part) const {
        const int64_t groups = (job.rows + TOGETHER - 1) / TOGETHER, at = groups * part / count * TOGETHER;
        return at < job.rows ? at : job.rows;
    }
};

void empty_and_add(float* from, double* to, int64_t n) {
    if (!from) return;
    for (int64_t i = 0; i < n; ++i) to[i] += static_cast<double>(from[i]);
    std::memset(from, 0, static_cast<size_t>(n) * sizeof(float));
}

void backward_part(void* context, int64_t begin, int64_t end) {
    const Backward& call = *static_cast<const Backward*>(context);
    const NormGradient& job = call.job;
    for (int64_t index = begin; index < end; ++index) {
        const Part& part = call.parts[index];
        const int64_t last = call.boundary(index + 1);
        for (int64_t row = call.boundary(index); row < last; row += ROWS_A_SUM) {
            const int64_t until = row + ROWS_A_SUM < last ? row + ROWS_A_SUM : last;
            call.kernels.backward[job.storage](job, row, until, part.weight, part.bias);
            empty_and_add(part.weight, part.weight_sum, job.dim);
            empty_and_add(part.bias, part.bias_sum, job.dim);
        }
    }
}

void total(const Part* parts, int64_t count, double* Part::*sum, int64_t n, float* gradient) {
    if (!gradient) return;
    for (int64_t i = 0; i < n; ++i) {
        double all = 0.0;
        for (int64_t k = 0; k < count; ++k) all += (parts[k].*sum)[i];
        gradient[i] = static_cast<float>(all);
    }
}

// Few rows on one thread: straight into the gradients.
Outcome backward_at_once(const NormKernels& kernels, const NormGradient& job) {
    const size_t bytes = static_cast<size_t>(job.dim) * sizeof(float);
    if (job.weight_gradient) std::memset(job.weight_gradient, 0, bytes);
    if (job.bias_gradient) std::memset(job.bias_gradient, 0, bytes);
    kernels.backward[job.storage](job, 0, job.rows, job.weight_gradient, job.bias_gradient);
    return DONE;
}

Outcome backward_in_parts(const NormKernels& kernels, const NormGradient& job, int threads) {
    const size_t dim = static_cast<size_t>(job.dim), each = dim * 2 * (sizeof(double) + sizeof(float));
    char* memory = static_cast<char*>(std::calloc(static_cast<size_t>(threads), sizeof(Part) + each));
    if (!memory) return {Outcome::NO_MEMORY, "no memory for the gradients of weight and bias"};
    Part* parts = reinterpret_cast<Part*>(memory);
    double* sums = reinterpret_cast<double*>(parts + threads);
    float* rows = reinterpret_cast<float*>(sums + 2 * dim * static_cast<size_t>(threads));
    for (int k = 0; k < threads; ++k, sums += 2 * dim, rows += 2 * dim) {
        parts[k] = {job.weight_gradient ? rows : nullptr, job.bias_gradient ? rows + dim : nullptr, sums, sums + dim};
    }
    Backward call = {kernels, job, parts, threads};
    share(threads, 1, threads, backward_part, &call);
    total(parts, threads, &Part::weight_sum, job.dim, job.weight_gradient);
    total(parts, threads, &Part::bias_sum, job.dim, job.bias_gradient);
    std::free(memory);
    return DONE;
}

}  // namespace

Outcome run(NormJob job, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    if (job.rows == 0 || job.dim == 0) return DONE;
    job.stream = overflows_cache(job.rows * job.dim, job.storage, job.residual ? 4 : 2);
    Forward call = {*kernels->norms, job, false};
    share(job.rows, rows_to_a_group(job.dim, job.storage), threads_for(job.rows, job.dim, threads), forward_part,
          &call);
    return call.out_of_memory ? NO_SCRATCH : DONE;
}

Outcome run(NormGradient job, int threads) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    if (job.dim == 0) return DONE;
    job.stream = overflows_cache(job.rows * job.dim, job.storage, 3);
    threads = threads_for(job.rows, job.dim, threads);
    if (threads <= 1 && job.rows <= ROWS_A_SUM) return backward_at_once(*kernels->norms, job);
    return backward_in_parts(*kernels->norms, job, threads < 1 ? 1 : threads);
}

}  // namespace normkit
