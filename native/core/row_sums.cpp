#include "row_sums.hpp"

#include <cstdlib>
#include <cstring>

#include "threads.hpp"

namespace normkit {
namespace {

constexpr int64_t ROWS_A_SUM = 256;  // rows added in float32 before they go into a double

// The sums of one thread: of at most ROWS_A_SUM rows, and of all before them.
struct Part {
    float *first, *second;
    double *first_sum, *second_sum;
};

struct Call {
    const void* job;
    AddRows add;
    int64_t rows, dim;
    const Part* parts;
    int64_t count;

    int64_t boundary(int64_t part) const {
        const int64_t groups = (rows + ROWS_TOGETHER - 1) / ROWS_TOGETHER, at = groups * part / count * ROWS_TOGETHER;
        return at < rows ? at : rows;
    }
};

void empty_and_add(float* from, double* to, int64_t n) {
    if (!from) return;
    for (int64_t i = 0; i < n; ++i) to[i] += static_cast<double>(from[i]);
    std::memset(from, 0, static_cast<size_t>(n) * sizeof(float));
}

void add_part(void* context, int64_t begin, int64_t end) {
    const Call& call = *static_cast<const Call*>(context);
    for (int64_t index = begin; index < end; ++index) {
        const Part& part = call.parts[index];
        const int64_t last = call.boundary(index + 1);
        for (int64_t row = call.boundary(index); row < last; row += ROWS_A_SUM) {
            const int64_t until = row + ROWS_A_SUM < last ? row + ROWS_A_SUM : last;
            call.add(call.job, row, until, part.first, part.second);
            empty_and_add(part.first, part.first_sum, call.dim);
            empty_and_add(part.second, part.second_sum, call.dim);
        }
    }
}

template <class Number>
void total(const Call& call, double* Part::*sum, Number* out) {
    if (!out) return;
    for (int64_t i = 0; i < call.dim; ++i) {
        double all = 0.0;
        for (int64_t k = 0; k < call.count; ++k) all += (call.parts[k].*sum)[i];
        out[i] = static_cast<Number>(all);
    }
}

// Few rows on one thread: straight into the sums, which are float32 anyway.
bool added_at_once(const void* job, AddRows add, int64_t rows, int64_t dim, float* first, float* second) {
    const size_t bytes = static_cast<size_t>(dim) * sizeof(float);
    if (first) std::memset(first, 0, bytes);
    if (second) std::memset(second, 0, bytes);
    add(job, 0, rows, first, second);
    return true;
}
bool added_at_once(const void*, AddRows, int64_t, int64_t, double*, double*) { return false; }

}  // namespace

int threads_for_rows(int64_t rows, int64_t dim, int wanted) {
    if (rows * dim < thresholds().serial) return 1;
    const int64_t groups = (rows + ROWS_TOGETHER - 1) / ROWS_TOGETHER;
    const int threads = usable_threads(wanted);
    return groups < threads ? static_cast<int>(groups) : threads;
}

template <class Number>
Outcome sum_rows(const void* job, AddRows add, int64_t rows, int64_t dim, int threads, Number* first, Number* second) {
    constexpr Outcome DONE = {Outcome::DONE, ""};
    threads = threads_for_rows(rows, dim, threads);
    if (threads < 1) threads = 1;
    if (threads == 1 && rows <= ROWS_A_SUM && added_at_once(job, add, rows, dim, first, second)) return DONE;
    const size_t wanted = (first ? 1 : 0) + (second ? 1 : 0), size = static_cast<size_t>(dim) * wanted;
    const size_t each = size * (sizeof(double) + sizeof(float));
    char* memory = static_cast<char*>(std::calloc(static_cast<size_t>(threads), sizeof(Part) + each));
    if (!memory) return {Outcome::NO_MEMORY, "no memory for the sums of the columns"};
    Part* parts = reinterpret_cast<Part*>(memory);
    double* sums = reinterpret_cast<double*>(parts + threads);
    float* few = reinterpret_cast<float*>(sums + size * static_cast<size_t>(threads));
    for (int k = 0; k < threads; ++k, sums += size, few += size) {
        const int64_t behind = first ? dim : 0;
        parts[k] = {first ? few : nullptr, second ? few + behind : nullptr, sums, sums + behind};
    }
    Call call = {job, add, rows, dim, parts, threads};
    share(threads, 1, threads, add_part, &call);
    total(call, &Part::first_sum, first);
    total(call, &Part::second_sum, second);
    std::free(memory);
    return DONE;
}

template Outcome sum_rows<float>(const void*, AddRows, int64_t, int64_t, int, float*, float*);
template Outcome sum_rows<double>(const void*, AddRows, int64_t, int64_t, int, double*, double*);

}  // namespace normkit
