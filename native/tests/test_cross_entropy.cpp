// Tests of the core's cross-entropy and pairs alone: no Python, no torch; the memory as in test_softmax.cpp.
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "cross_entropy/cross_entropy.hpp"
#include "guarded.hpp"
#include "softmax/softmax.hpp"

namespace {

constexpr int64_t ROWS = 5;

// Losses and gradients of a sum of losses, in double.
struct Exact {
    std::vector<double> loss, dx;

    explicit Exact(const CrossEntropyJob& job) {
        const float* x = static_cast<const float*>(job.x);
        for (int64_t row = 0; row < job.rows; ++row) add_row(job, x + row * job.classes, job.target[row]);
    }

private:
    void add_row(const CrossEntropyJob& job, const float* x, int64_t t) {
        const int64_t n = job.classes;
        if (t == job.ignore_index) {
            loss.push_back(0.0);
            dx.insert(dx.end(), static_cast<size_t>(n), 0.0);
            return;
        }
        double sum = 0.0, weights = 0.0, spread = 0.0;
        for (int64_t j = 0; j < n; ++j) sum += std::exp(static_cast<double>(x[j]));
        const double log_sum = std::log(sum), share = job.smoothing / static_cast<double>(n);
        const auto w = [&](int64_t j) { return job.weight ? static_cast<double>(job.weight[j]) : 1.0; };
        for (int64_t j = 0; j < n; ++j) weights += w(j), spread += w(j) * (log_sum - x[j]);
        const double own = (1.0 - job.smoothing) * w(t);
        loss.push_back(own * (log_sum - x[t]) + share * spread);
        for (int64_t j = 0; j < n; ++j) {
            const double p = std::exp(x[j] - log_sum);
            dx.push_back((own + share * weights) * p - (j == t ? own : 0.0) - share * w(j));
        }
    }
};

double largest_difference(const float* found, const std::vector<double>& exact) {
    double worst = 0.0;
    for (size_t i = 0; i < exact.size(); ++i) {
        const double error = std::fabs(found[i] - exact[i]);
        if (std::isnan(error)) return std::numeric_limits<double>::infinity();  // an element that was not written
        worst = std::fmax(worst, error);
    }
    return worst;
}

void test_losses(int64_t classes, bool weighted, double smoothing, bool at_end) {
    const size_t count = static_cast<size_t>(ROWS * classes), width = static_cast<size_t>(classes);
    Guarded x(count, at_end), weight(width, at_end), pair(2 * ROWS, at_end), loss(ROWS, at_end), dx(count, at_end);
    Guarded both(count, at_end), memory(2 * ROWS, at_end), one(1, at_end), sum(1, at_end);
    int64_t* target = reinterpret_cast<int64_t*>(memory.get());
    std::mt19937 draw(static_cast<unsigned>(classes));
    std::normal_distribution<float> normal(0.0f, 3.0f);
    for (size_t i = 0; i < count; ++i) x.get()[i] = normal(draw);
    for (size_t i = 0; i < width; ++i) weight.get()[i] = 0.5f + std::fabs(normal(draw));
    for (int64_t row = 0; row < ROWS; ++row) target[row] = row == 2 ? -100 : (row * 7 + classes - 1) % classes;
    one.get()[0] = 1.0f;

    CrossEntropyJob job = {};
    job.x = x.get();
    job.target = target;
    job.weight = weighted ? weight.get() : nullptr;
    job.rows = ROWS;
    job.classes = job.stride = classes;
    job.ignore_index = -100;
    job.smoothing = smoothing;
    job.mantissa = pair.get();
    job.exponent = pair.get() + ROWS;
    job.loss = loss.get();
    job.grad = one.get();
    job.dx = dx.get();

    const Exact exact(job);
    const std::string what = std::to_string(classes) + (weighted ? " classes, weighted" : " classes");
    check(cross_entropy(job, SUM, sum.get(), 1).kind == Outcome::DONE, "cross-entropy runs");
    check(largest_difference(loss.get(), exact.loss) < 2e-5, "losses, " + what);
    check(cross_entropy_backward(job, SUM, 1).kind == Outcome::DONE, "its backward pass runs");
    check(largest_difference(dx.get(), exact.dx) < 4e-6, "gradients, " + what);
    job.dx = both.get();
    check(cross_entropy_with_gradient(job, SUM, sum.get(), 1).kind == Outcome::DONE, "both run");
    check(largest_difference(both.get(), exact.dx) < 4e-6, "gradients computed with the losses, " + what);

    target[3] = classes;
    check(cross_entropy(job, SUM, sum.get(), 1).kind == Outcome::BAD_INDEX, "a target beyond the classes is refused");
    check(cross_entropy_with_gradient(job, SUM, sum.get(), 1).kind == Outcome::BAD_INDEX, "and with the gradient");
}

void test_pairs(int64_t dim, bool at_end) {
    Guarded x(static_cast<size_t>(dim), at_end), pair(2, at_end);
    std::mt19937 draw(1);
    std::normal_distribution<float> normal(0.0f, 3.0f);
    double sum = 0.0;
    for (int64_t i = 0; i < dim; ++i) sum += std::exp(static_cast<double>(x.get()[i] = normal(draw)));
    Job job = {};
    job.operation = SOFTMAX_PAIR;
    job.a = x.get();
    job.out = pair.get();
    job.outer = job.inner = 1;
    job.dim = job.a_stride = job.out_stride = dim;
    check(run(job, 1, false).kind == Outcome::DONE, "a pair is computed");
    const double found = std::ldexp(static_cast<double>(pair.get()[0]), static_cast<int>(pair.get()[1]));
    check(std::fabs(found / sum - 1.0) < 1e-6, "pair of " + std::to_string(dim));
}

void test_all() {
    for (const bool at_end : {false, true}) {
        for (const int64_t n : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 129, 511, 513, 1025, 4097}) {
            for (const double smoothing : {0.0, 0.1}) {
                test_losses(n, false, smoothing, at_end);
                test_losses(n, true, smoothing, at_end);
            }
            test_pairs(n, at_end);
        }
    }
}

}  // namespace

int main() { return run_everywhere(test_all); }
