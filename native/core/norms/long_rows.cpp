#include "long_rows.hpp"

#include <cstdlib>
#include <cstring>

#include "shares.hpp"
#include "threads.hpp"

namespace normkit {
namespace {

constexpr Outcome DONE = {Outcome::DONE, ""};

int64_t parts_of(int64_t dim) { return (dim + LONGEST_PART - 1) / LONGEST_PART; }

int64_t length(int64_t dim, int64_t part) {
    const int64_t left = dim - part * LONGEST_PART;
    return left < LONGEST_PART ? left : LONGEST_PART;
}

// Memory for one call, given back at its end.
class Memory {
public:
    explicit Memory(int64_t bytes) : start_(bytes ? std::malloc(static_cast<size_t>(bytes)) : nullptr) {}
    ~Memory() { std::free(start_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    void* get() const { return start_; }

private:
    void* start_;
};

// Pointers into a tensor, or null where there is none.
const void* at(const void* start, int64_t element, Storage storage) {
    return start ? static_cast<const char*>(start) + element * bytes_of(storage) : nullptr;
}
void* at(void* start, int64_t element, Storage storage) {
    return start ? static_cast<char*>(start) + element * bytes_of(storage) : nullptr;
}
const float* at(const float* start, int64_t column) { return start ? start + column : nullptr; }
float* at(float* start, int64_t column) { return start ? start + column : nullptr; }

// --- forward ---

struct Row {
    const NormKernels& kernels;
    const NormJob& job;
    int64_t row;
    void* sum;  // where s = x + residual goes, if there is a residual
    RowShare* shares;
    RowScale scale;

    NormJob part(int64_t index) const {
        const int64_t column = index * LONGEST_PART, element = row * job.dim + column;
        NormJob part = job;
        part.x = at(job.x, row * job.x_stride + column, job.storage);
        part.residual = at(job.residual, element, job.storage);
        part.sum = job.residual ? at(sum, column, job.storage) : nullptr;
        part.y = at(job.y, element, job.storage);
        part.weight = at(job.weight, column);
        part.bias = at(job.bias, column);
        part.scales = nullptr;
        part.rows = 1;
        part.dim = length(job.dim, index);
        return part;
    }
};

void measure(void* context, int64_t begin, int64_t end) {
    Row& row = *static_cast<Row*>(context);
    for (int64_t index = begin; index < end; ++index) {
        NormJob part = row.part(index);
        part.stream = false;  // the sum is read again
        row.shares[index] = row.kernels.measure[part.storage](part);
    }
}

void write(void* context, int64_t begin, int64_t end) {
    const Row& row = *static_cast<const Row*>(context);
    for (int64_t index = begin; index < end; ++index) {
        const NormJob part = row.part(index);
        row.kernels.write[part.storage](part, row.scale);
    }
}

RowScale scale_of_row(const NormJob& job, const RowShare* shares) {
    RowShare all = shares[0];
    for (int64_t index = 1; index < parts_of(job.dim); ++index) {
        merge(job.operation, all, index * LONGEST_PART, shares[index], length(job.dim, index));
    }
    return scale_of(job.operation, all, job.dim, job.eps);
}

// --- backward ---

struct GradientRow {
    const NormKernels& kernels;
    const NormGradient& job;
    int64_t row;
    GradientSums* shares;
    GradientSums sums;

    NormGradient part(int64_t index) const {
        const int64_t column = index * LONGEST_PART, element = row * job.dim + column;
        NormGradient part = job;
        part.s = at(job.s, element, job.storage);
        part.dy = at(job.dy, element, job.storage);
        part.ds = at(job.ds, element, job.storage);
        part.dx = at(job.dx, element, job.storage);
        part.weight = at(job.weight, column);
        part.scales = job.scales + row;
        part.rows = 1;
        part.dim = length(job.dim, index);
        return part;
    }
};

void add_up(void* context, int64_t begin, int64_t end) {
    GradientRow& row = *static_cast<GradientRow*>(context);
    for (int64_t index = begin; index < end; ++index) {
        const NormGradient part = row.part(index);
        row.shares[index] = row.kernels.gradient_sums[part.storage](part);
    }
}

void write_gradient(void* context, int64_t begin, int64_t end) {
    const GradientRow& row = *static_cast<const GradientRow*>(context);
    for (int64_t index = begin; index < end; ++index) {
        const NormGradient part = row.part(index);
        row.kernels.write_gradient[part.storage](part, row.sums, row.job.dim,
                                                 at(row.job.weight_gradient, index * LONGEST_PART),
                                                 at(row.job.bias_gradient, index * LONGEST_PART));
    }
}

void clear(float* gradient, int64_t dim) {
    if (gradient) std::memset(gradient, 0, static_cast<size_t>(dim) * sizeof(float));
}

}  // namespace

bool few_long_rows(int64_t groups, int64_t dim, int threads) {
    return dim > LONGEST_PART && groups < usable_threads(threads);
}

Outcome run_by_parts(const NormKernels& kernels, const NormJob& job, int threads) {
    const int64_t parts = parts_of(job.dim), row_bytes = job.dim * bytes_of(job.storage);
    const bool needs_sum = job.residual && !job.sum;
    const Memory shares(parts * static_cast<int64_t>(sizeof(RowShare))), sum(needs_sum ? row_bytes : 0);
    if (!shares.get() || (needs_sum && !sum.get())) return {Outcome::NO_MEMORY, "no memory for the sums of a row"};
    threads = usable_threads(threads);
    for (int64_t index = 0; index < job.rows; ++index) {
        void* kept = needs_sum ? sum.get() : at(job.sum, index * job.dim, job.storage);
        Row row = {kernels, job, index, kept, static_cast<RowShare*>(shares.get()), {}};
        share(parts, 1, threads, measure, &row);
        row.scale = scale_of_row(job, row.shares);
        if (job.scales) job.scales[index] = row.scale;
        share(parts, 1, threads, write, &row);
    }
    return DONE;
}

Outcome run_by_parts(const NormKernels& kernels, const NormGradient& job, int threads) {
    const int64_t parts = parts_of(job.dim);
    const Memory shares(parts * static_cast<int64_t>(sizeof(GradientSums)));
    if (!shares.get()) return {Outcome::NO_MEMORY, "no memory for the sums of a row"};
    clear(job.weight_gradient, job.dim);
    clear(job.bias_gradient, job.dim);
    threads = usable_threads(threads);
    for (int64_t index = 0; index < job.rows; ++index) {
        GradientRow row = {kernels, job, index, static_cast<GradientSums*>(shares.get()), {}};
        share(parts, 1, threads, add_up, &row);
        for (int64_t part = 0; part < parts; ++part) {
            row.sums.g += row.shares[part].g;
            row.sums.g_n += row.shares[part].g_n;
        }
        share(parts, 1, threads, write_gradient, &row);
    }
    return DONE;
}

}  // namespace normkit
