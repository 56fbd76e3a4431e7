#include "planes.hpp"

#include "batch_channel_norm.hpp"
#include "dispatch.hpp"
#include "evonorm_b0.hpp"
#include "evonorm_s0.hpp"
#include "group_norm.hpp"
#include "memory.hpp"
#include "threads.hpp"
#include "weight_standardize.hpp"

namespace normkit {
namespace {

constexpr Outcome DONE = {Outcome::DONE, ""};
// Caches from which on results are streamed. Below, memory that the allocator hands out again is still in the part of
// the cache that we do not count on: 32 x 64 x 28 x 28 took 1.6 times as long when streamed.
constexpr int64_t STREAMED_FROM = 2;
constexpr int64_t LEAST_STREAMED = 256;  // shorter planes have too few whole vectors between their unaligned ends

int64_t elements(const PlanesJob& job) { return job.batch * job.channels * job.size; }

struct Walk {
    Layer& layer;
    int64_t slice;  // items of a sample that are walked together where samples are coupled
};

// An item is still in the cache when it is written.
void whole_items(void* context, int64_t begin, int64_t end) {
    const Walk& walk = *static_cast<Walk*>(context);
    for (int64_t item = begin; item < end; ++item) {
        walk.layer.reduce(item, item + 1);
        walk.layer.fold(item);
        walk.layer.write(item, item + 1);
    }
}

// The same where items of different samples are coupled: through the whole batch, a slice of the sample at a time.
void whole_slices(void* context, int64_t begin, int64_t end) {
    const Walk& walk = *static_cast<Walk*>(context);
    const int64_t per_sample = walk.layer.items_per_sample(), items = walk.layer.items();
    for (int64_t first = begin; first < end; first += walk.slice) {
        const int64_t last = first + walk.slice < end ? first + walk.slice : end;
        for (int64_t start = 0; start < items; start += per_sample) walk.layer.reduce(start + first, start + last);
        walk.layer.couple(first, last);
        for (int64_t start = items - per_sample; start >= 0; start -= per_sample) {
            walk.layer.write(start + first, start + last);
        }
    }
}

void first_read(void* context, int64_t begin, int64_t end) {
    static_cast<Walk*>(context)->layer.reduce(begin, end);
}
void second_read(void* context, int64_t begin, int64_t end) {
    const Walk& walk = *static_cast<Walk*>(context);
    walk.layer.write(begin, end);
}

constexpr int64_t SLICE_BYTES = 4096;  // what is read of one sample before the next: a page

int64_t slice_of(const PlanesJob& job, const Layer& layer) {
    const int64_t bytes = elements(job) / layer.items() * bytes_of(job.storage);
    return bytes >= SLICE_BYTES ? 1 : SLICE_BYTES / bytes;
}

// Slices are shared where there are enough of them; else items, each read by one thread and perhaps written by another.
void run_coupled(Walk& walk, int threads) {
    const int64_t per_sample = walk.layer.items_per_sample();
    if (per_sample >= walk.slice * threads) return share(per_sample, walk.slice, threads, whole_slices, &walk);
    share(walk.layer.items(), 1, threads, first_read, &walk);
    walk.layer.couple(0, per_sample);
    share(walk.layer.items(), 1, threads, second_read, &walk);
}

bool is_streamed(const PlanesJob& job) {
    const int64_t bytes = elements(job) * bytes_of(job.storage) * (job.backward ? 3 : 2);
    return bytes > STREAMED_FROM * cache_bytes() && job.size >= LEAST_STREAMED;
}

Outcome run_layer(const PlanesJob& job, Layer&& layer, int threads) {
    float* scratch = scratch_rows(Layer::floats_needed(job));
    if (!scratch) return {Outcome::NO_MEMORY, "no memory for the coefficients of the planes"};
    layer.use(scratch, is_streamed(job));
    threads = elements(job) < thresholds().serial ? 1 : usable_threads(threads);
    if (layer.items() < threads) threads = static_cast<int>(layer.items());
    Walk walk = {layer, slice_of(job, layer)};
    layer.begin();
    if (layer.coupled()) {
        run_coupled(walk, threads);
    } else {
        share(layer.items(), 1, threads, whole_items, &walk);
    }
    if (job.backward) layer.finish();
    return DONE;
}

const char* refusal(const PlanesJob& job) {
    if (job.batch < 0 || job.channels < 1 || job.size < 0) return "a size is negative, or there is no channel";
    if (job.groups < 1 || job.channels % job.groups != 0) return "the groups do not divide the channels";
    if (job.operation == WEIGHT_STANDARDIZE && job.channels != 1) return "a filter is one plane";
    return nullptr;
}

}  // namespace

Outcome run(const PlanesJob& job, int threads) {
    const KernelTable* table = active_kernels();
    if (!table) return {Outcome::NO_KERNELS, dispatch_error()};
    if (const char* reason = refusal(job)) return {Outcome::BAD_JOB, reason};
    if (elements(job) == 0) return {Outcome::BAD_JOB, "there is no element"};
    const PlanesKernels& kernels = *table->planes;
    switch (job.operation) {
        case GROUP_NORM: return run_layer(job, GroupNorm(job, kernels), threads);
        case EVONORM_S0: return run_layer(job, EvoNormS0(job, kernels), threads);
        case EVONORM_B0: return run_layer(job, EvoNormB0(job, kernels), threads);
        case BATCH_CHANNEL_NORM: return run_layer(job, BatchChannelNorm(job, kernels), threads);
        case WEIGHT_STANDARDIZE: return run_layer(job, WeightStandardize(job, kernels), threads);
        default: return {Outcome::BAD_JOB, "there is no such operation"};
    }
}

}  // namespace normkit
