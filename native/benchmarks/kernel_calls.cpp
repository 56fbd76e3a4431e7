// Calls one kernel on one row shape a number of times, for callgrind to count: `kernel_calls NAME ROWS DIM CALLS`.
// Two runs with different numbers of calls differ by the kernel's own instructions.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "dispatch.hpp"
#include "norms/norms.hpp"
#include "softmax/softmax.hpp"

using namespace normkit;

namespace {

using Row = std::vector<float>;

Row normal(int64_t count) {
    std::mt19937 draw(1);
    std::normal_distribution<float> numbers;
    Row row(static_cast<size_t>(count));
    for (float& number : row) number = numbers(draw);
    return row;
}

struct SoftmaxCall {
    const char* name;
    Operation operation;
    Path path;
};

constexpr SoftmaxCall SOFTMAX_CALLS[] = {
    {"softmax_short", SOFTMAX, SHORT_ROW},      {"softmax_reload", SOFTMAX, RELOAD},
    {"softmax_scratch", SOFTMAX, SCRATCH},      {"softmax_two_pass", SOFTMAX, TWO_PASS},
    {"softmax_two_pass_paper", SOFTMAX, TWO_PASS_PAPER},
    {"softmax_three_pass_reload", SOFTMAX, THREE_PASS_RELOAD},
    {"log_softmax", LOG_SOFTMAX, AUTOMATIC},    {"logsumexp", LOGSUMEXP, AUTOMATIC},
    {"softmax_backward", SOFTMAX_BACKWARD, AUTOMATIC},
    {"log_softmax_backward", LOG_SOFTMAX_BACKWARD, AUTOMATIC},
};

struct NormCall {
    const char* name;
    NormOperation operation;
};

constexpr NormCall NORM_CALLS[] = {
    {"layer_norm", LAYER_NORM}, {"rms_norm", RMS_NORM}, {"crms_norm", COMPRESSED_NORM}};

bool softmax_calls(const char* name, int64_t rows, int64_t dim, int calls) {
    for (const SoftmaxCall& known : SOFTMAX_CALLS) {
        if (std::strcmp(known.name, name) != 0) continue;
        const Row a = normal(rows * dim), b = normal(rows * dim);
        Row out(a.size());
        Job job = {};
        job.operation = known.operation;
        job.path = known.path;
        job.a = a.data();
        job.b = b.data();
        job.out = out.data();
        job.outer = rows;
        job.dim = job.a_stride = job.b_stride = job.out_stride = dim;
        job.inner = 1;
        for (; calls > 0; --calls) {
            if (run(job, 1, false).kind != Outcome::DONE) return false;
        }
        return true;
    }
    return false;
}

bool norm_calls(const char* name, int64_t rows, int64_t dim, int calls) {
    for (const NormCall& known : NORM_CALLS) {
        if (std::strcmp(known.name, name) != 0) continue;
        const Row x = normal(rows * dim), weight = normal(dim);
        Row y(x.size());
        std::vector<RowScale> scales(static_cast<size_t>(rows));
        NormJob job = {};
        job.operation = known.operation;
        job.x = x.data();
        job.y = y.data();
        job.weight = weight.data();
        job.scales = scales.data();
        job.rows = rows;
        job.dim = job.x_stride = dim;
        job.eps = 1e-5;
        for (; calls > 0; --calls) {
            if (run(job, 1).kind != Outcome::DONE) return false;
        }
        return true;
    }
    return false;
}

}  // namespace

int main(int count, char** words) {
    if (count != 5) {
        std::printf("usage: kernel_calls NAME ROWS DIM CALLS\ncompiler: %s\n", __VERSION__);
        return 2;
    }
    const int64_t rows = std::atoll(words[2]), dim = std::atoll(words[3]);
    const int calls = std::atoi(words[4]);
    thresholds().cache_bytes = int64_t{1} << 40;  // ordinary stores, whatever the machine's caches
    if (softmax_calls(words[1], rows, dim, calls) || norm_calls(words[1], rows, dim, calls)) return 0;
    std::printf("no kernel %s of %s rows of %s\n", words[1], words[2], words[3]);
    return 1;
}
