// Random calls of the softmax family, against sums in double: any shape, storage, stride, alignment, path, thread
// count and store, in place or not, on memory that ends at pages that may not be touched. Gaps between rows and
// results are poisoned first. NORMKIT_FUZZ_CALLS (default 400) calls from NORMKIT_FUZZ_SEED (default 1).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "guarded.hpp"
#include "softmax/softmax.hpp"

namespace {

using Random = std::mt19937_64;
using Numbers = std::vector<double>;

int64_t between(Random& draw, int64_t low, int64_t high) {
    return low + static_cast<int64_t>(draw() % (high - low + 1));
}
bool one_in(Random& draw, int64_t n) { return between(draw, 1, n) == 1; }

uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Digits behind the leading one, and the least normal exponent.
int digits(Storage storage) { return storage == FLOAT32 ? 23 : storage == FLOAT16 ? 10 : 7; }
int least_exponent(Storage storage) { return storage == FLOAT16 ? -14 : -126; }
double unit(Storage storage, double value) {
    int exponent = 0;
    std::frexp(value, &exponent);
    return std::ldexp(1.0, std::max(exponent - 1, least_exponent(storage)) - digits(storage));
}

// A tensor in guarded memory: entry (o, i, c) of (outer, dim, inner), its rows `stride` apart where inner is 1.
class Tensor {
public:
    Tensor(Storage storage, int64_t outer, int64_t dim, int64_t inner, int64_t gap, bool at_end)
        : storage_(storage), dim_(dim), inner_(inner), stride_(dim * inner + (inner == 1 ? gap : 0)),
          bytes_(static_cast<size_t>(((outer - 1) * stride_ + dim * inner) * size())),
          memory_((bytes_ + 3) / 4, at_end) {
        start_ = reinterpret_cast<char*>(memory_.get()) + (at_end ? (bytes_ + 3) / 4 * 4 - bytes_ : 0);
        poison();
    }
    void* get() const { return start_; }
    int64_t stride() const { return stride_; }

    double read(int64_t o, int64_t i, int64_t c) const {
        const char* at = place(o, i, c);
        if (storage_ == FLOAT32) {
            float value;
            std::memcpy(&value, at, 4);
            return value;
        }
        uint16_t half;
        std::memcpy(&half, at, 2);
        if (storage_ == BFLOAT16) {
            const uint32_t wide = static_cast<uint32_t>(half) << 16;
            float value;
            std::memcpy(&value, &wide, 4);
            return value;
        }
        const int exponent = half >> 10 & 31, fraction = half & 1023;
        const double size = exponent == 31  ? (fraction ? NAN : INFINITY)
                            : exponent == 0 ? std::ldexp(fraction, -24)
                                            : std::ldexp(1024 + fraction, exponent - 25);
        return half >> 15 ? -size : size;
    }

    // Stores the nearest number that the storage has; `value` is finite and in its range.
    void write(int64_t o, int64_t i, int64_t c, double value) {
        char* at = place(o, i, c);
        const double step = unit(storage_, value);
        const float rounded = static_cast<float>(std::nearbyint(value / step) * step);
        if (storage_ == FLOAT32) {
            std::memcpy(at, &rounded, 4);
            return;
        }
        uint16_t half = static_cast<uint16_t>(bits_of(rounded) >> 16);
        if (storage_ == FLOAT16) half = half_of(rounded);
        std::memcpy(at, &half, 2);
    }

    Numbers row(int64_t o, int64_t c) const {
        Numbers values(static_cast<size_t>(dim_));
        for (int64_t i = 0; i < dim_; ++i) values[i] = read(o, i, c);
        return values;
    }

    // Whether the gaps between rows still hold the poison.
    bool gaps_untouched(int64_t outer) const {
        for (int64_t o = 0; o + 1 < outer && inner_ == 1; ++o) {
            for (const char* at = place(o, dim_, 0); at < place(o + 1, 0, 0); ++at) {
                if (*at != POISON) return false;
            }
        }
        return true;
    }

private:
    static constexpr char POISON = static_cast<char>(0xff);  // a NaN in every storage

    int64_t size() const { return storage_ == FLOAT32 ? 4 : 2; }
    char* place(int64_t o, int64_t i, int64_t c) const { return start_ + (o * stride_ + i * inner_ + c) * size(); }
    void poison() { std::memset(start_, POISON, bytes_); }

    static uint16_t half_of(float value) {
        const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000;
        const int exponent = static_cast<int>(bits >> 23 & 255) - 127;
        if (exponent < -14) return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::fabs(value) * 0x1p24f));
        return static_cast<uint16_t>(sign | static_cast<uint32_t>(exponent + 15) << 10 | (bits >> 13 & 1023));
    }

    Storage storage_;
    int64_t dim_, inner_, stride_;
    size_t bytes_;
    Guarded memory_;
    char* start_;
};

double log_sum(const Numbers& x) {
    const double maximum = *std::max_element(x.begin(), x.end());
    double sum = 0.0;
    for (const double value : x) sum += std::exp(value - maximum);
    return maximum + std::log(sum);
}

// What is right for one row, and by how much the kernel's single rounding at the end may leave it (float32 inside).
struct Expected {
    Numbers values;
    double absolute, units;
};

Expected expected(const Job& job, const Numbers& a, const Numbers& b) {
    Expected right = {Numbers(a.size()), 0.0, 0.0};
    double sum = 0.0, dot = 0.0, size = 0.0;
    for (size_t i = 0; i < b.size(); ++i) {
        sum += b[i];
        dot += a[i] * b[i];
        size += std::fabs(b[i]);
    }
    const double total = job.operation <= LOGSUMEXP || job.operation == LOGSUMEXP_BACKWARD ? log_sum(a) : 0.0;
    for (size_t i = 0; i < a.size(); ++i) {
        switch (job.operation) {
            case SOFTMAX: right.values[i] = std::exp(a[i] - total); break;
            case LOG_SOFTMAX: right.values[i] = a[i] - total; break;
            case SOFTMAX_BACKWARD: right.values[i] = a[i] * (b[i] - dot); break;
            case LOG_SOFTMAX_BACKWARD: right.values[i] = b[i] - std::exp(a[i]) * sum; break;
            case LOGSUMEXP_BACKWARD: right.values[i] = b[0] * std::exp(a[i] - total); break;
            default: right.values[i] = total;
        }
    }
    if (job.operation == LOGSUMEXP) right.values.resize(1);
    if (job.operation == SOFTMAX || job.operation == LOGSUMEXP_BACKWARD) {
        right.units = 8.0;
        right.absolute = 1.2e-38 * std::fmax(1.0, size);
        // The published algorithms add in float32.
        if (job.path >= TWO_PASS_PAPER) right.units = 64.0 + 0.01 * static_cast<double>(a.size());
    } else if (job.operation == LOG_SOFTMAX || job.operation == LOGSUMEXP) {
        right.absolute = 1e-6 * std::fmax(40.0, std::fabs(total));
    } else {
        right.absolute = 1e-6 * std::fmax(1.0, job.operation == LOG_SOFTMAX_BACKWARD ? size : 4.0 * size);
    }
    return right;
}

struct Trial {
    Job job;
    int threads;
    bool deterministic, in_place, at_end;
    int64_t gaps[3];
};

int64_t random_dim(Random& draw) {
    switch (between(draw, 0, 4)) {
        case 0: return between(draw, 1, 40);
        case 1: return between(draw, 41, 600);
        case 2: return 16 * between(draw, 1, 80) + between(draw, -1, 1);
        default: return one_in(draw, 25) ? between(draw, 60'000, 140'000) : between(draw, 600, 6000);
    }
}

Trial random_trial(Random& draw) {
    Trial trial = {};
    Job& job = trial.job;
    job.operation = static_cast<Operation>(between(draw, SOFTMAX, LOGSUMEXP_BACKWARD));
    job.storage = static_cast<Storage>(between(draw, FLOAT32, STORAGES - 1));
    job.dim = random_dim(draw);
    job.outer = job.dim > 10'000 ? between(draw, 1, 3) : between(draw, 1, 9);
    job.inner = one_in(draw, 3) && job.dim < 2000 ? between(draw, 2, 70) : 1;
    job.high = one_in(draw, 4);
    job.masked_zero = one_in(draw, 4);
    job.path = job.inner == 1 && one_in(draw, 2) ? static_cast<Path>(between(draw, AUTOMATIC, PATHS - 1)) : AUTOMATIC;
    trial.threads = static_cast<int>(between(draw, 1, 3));
    trial.deterministic = one_in(draw, 4);
    trial.in_place = one_in(draw, 4) && job.operation != LOGSUMEXP;
    trial.at_end = one_in(draw, 2);
    for (int64_t& gap : trial.gaps) gap = one_in(draw, 2) ? between(draw, 1, 40) : 0;
    return trial;
}

std::string name(const Trial& trial) {
    const Job& job = trial.job;
    return "operation " + std::to_string(job.operation) + " storage " + std::to_string(job.storage) + " shape " +
           std::to_string(job.outer) + "x" + std::to_string(job.dim) + "x" + std::to_string(job.inner) + " path " +
           std::to_string(job.path) + " threads " + std::to_string(trial.threads) +
           (trial.in_place ? " in place" : "") + (trial.deterministic ? " deterministic" : "");
}

void fill(Tensor& tensor, const Job& job, Random& draw, double spread) {
    std::normal_distribution<double> normal(0.0, spread);
    for (int64_t o = 0; o < job.outer; ++o) {
        for (int64_t i = 0; i < job.dim; ++i) {
            for (int64_t c = 0; c < job.inner; ++c) tensor.write(o, i, c, normal(draw));
        }
    }
}

// A backward pass is given what the forward pass would have written.
void become_result(Tensor& tensor, const Job& job) {
    for (int64_t o = 0; o < job.outer; ++o) {
        for (int64_t c = 0; c < job.inner; ++c) {
            const Numbers x = tensor.row(o, c);
            const double total = log_sum(x);
            for (int64_t i = 0; i < job.dim; ++i) {
                tensor.write(o, i, c, job.operation == SOFTMAX_BACKWARD ? std::exp(x[i] - total) : x[i] - total);
            }
        }
    }
}

void compare(const Trial& trial, const Tensor& out, const std::vector<Expected>& right) {
    const Job& job = trial.job;
    for (int64_t o = 0; o < job.outer; ++o) {
        for (int64_t c = 0; c < job.inner; ++c) {
            const Expected& row = right[o * job.inner + c];
            for (size_t i = 0; i < row.values.size(); ++i) {
                const double want = row.values[i], found = out.read(o, static_cast<int64_t>(i), c);
                const double least = std::fabs(want) * row.units * 0x1p-23 + unit(job.storage, want) + row.absolute;
                if (!(std::fabs(found - want) <= least)) {
                    check(false, name(trial) + ": entry " + std::to_string(i) + " is " + std::to_string(found) +
                                     ", not " + std::to_string(want));
                    return;
                }
            }
        }
    }
}

void try_once(Trial trial, Random& draw) {
    Job& job = trial.job;
    const bool one_a_row = job.operation == LOGSUMEXP, scalar_gradient = job.operation == LOGSUMEXP_BACKWARD;
    Tensor a(job.storage, job.outer, job.dim, job.inner, trial.gaps[0], trial.at_end);
    Tensor b(job.storage, job.outer, scalar_gradient ? 1 : job.dim, job.inner, scalar_gradient ? 0 : trial.gaps[1],
             trial.at_end);
    Tensor fresh(job.storage, job.outer, one_a_row ? 1 : job.dim, job.inner, one_a_row ? 0 : trial.gaps[2],
                 trial.at_end);
    fill(a, job, draw, one_in(draw, 4) ? 30.0 : 3.0);
    if (job.operation == SOFTMAX_BACKWARD || job.operation == LOG_SOFTMAX_BACKWARD) become_result(a, job);
    Job shape_of_b = job;
    if (scalar_gradient) shape_of_b.dim = 1;
    fill(b, shape_of_b, draw, 1.0);

    std::vector<Expected> right;
    for (int64_t o = 0; o < job.outer; ++o) {
        for (int64_t c = 0; c < job.inner; ++c) {
            const bool backward = job.operation >= SOFTMAX_BACKWARD;
            right.push_back(expected(job, a.row(o, c), backward ? b.row(o, c) : Numbers()));
        }
    }
    const Tensor& out = trial.in_place ? a : fresh;
    job.a = a.get();
    job.b = job.operation >= SOFTMAX_BACKWARD ? b.get() : nullptr;
    job.out = out.get();
    job.a_stride = a.stride();
    job.b_stride = b.stride();
    job.out_stride = out.stride();
    thresholds().cache_bytes = one_in(draw, 2) ? 16 : int64_t{1} << 40;  // streamed stores or ordinary ones
    const Outcome outcome = run(job, trial.threads, trial.deterministic);
    thresholds().cache_bytes = 0;
    if (outcome.kind == Outcome::BAD_JOB && job.path != AUTOMATIC) return;  // a path that says what it cannot do
    check(outcome.kind == Outcome::DONE, name(trial) + ": " + outcome.message);
    check(a.gaps_untouched(job.outer) && out.gaps_untouched(job.outer), name(trial) + " wrote between rows");
    compare(trial, out, right);
}

int64_t setting(const char* variable, int64_t otherwise) {
    const char* text = std::getenv(variable);
    return text ? std::atoll(text) : otherwise;
}

void fuzz() {
    Random draw(static_cast<uint64_t>(setting("NORMKIT_FUZZ_SEED", 1)));
    for (int64_t call = setting("NORMKIT_FUZZ_CALLS", 400); call > 0; --call) try_once(random_trial(draw), draw);
}

}  // namespace

int main() { return run_everywhere(fuzz); }
