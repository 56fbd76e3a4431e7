// Tests of the core alone: no Python, no torch. Run under every instruction set that the machine has, on memory that
// ends at a page that may not be touched, and under the sanitizers (-DNORMKIT_SANITIZE=ON) and qemu.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "guarded.hpp"
#include "softmax/softmax.hpp"

using namespace normkit;

namespace {

Job rows_job(Operation operation, const float* a, const float* b, float* out, int64_t rows, int64_t dim) {
    Job job = {};
    job.operation = operation;
    job.a = a;
    job.b = b;
    job.out = out;
    job.outer = rows;
    job.dim = job.a_stride = job.b_stride = job.out_stride = dim;
    job.inner = 1;
    return job;
}

std::vector<double> exact_softmax(const float* x, int64_t n) {
    double maximum = -std::numeric_limits<double>::infinity(), sum = 0.0;
    for (int64_t i = 0; i < n; ++i) maximum = std::fmax(maximum, x[i]);
    std::vector<double> y(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) sum += y[i] = std::exp(x[i] - maximum);
    for (double& value : y) value /= sum;
    return y;
}

double ulps(const float* y, const std::vector<double>& exact) {
    double worst = 0.0;
    for (size_t i = 0; i < exact.size(); ++i) {
        const double error = std::fabs(y[i] - exact[i]);
        if (!(exact[i] >= 0x1p-125)) {
            worst = std::fmax(worst, error <= 1.2e-38 ? 0.0 : 1e9);
            continue;
        }
        const float size = static_cast<float>(exact[i]);
        const double unit = std::nextafter(size, 2.0f) - size;
        worst = std::fmax(worst, std::isnan(y[i]) ? 1e9 : error / unit);
    }
    return worst;
}

void fill_normal(float* x, int64_t n, float scale, unsigned seed) {
    std::mt19937 draw(seed);
    std::normal_distribution<float> normal(0.0f, scale);
    for (int64_t i = 0; i < n; ++i) x[i] = normal(draw);
}

// Every path of one size, on guarded memory, with every way of storing.
void test_softmax(int64_t dim, bool at_end) {
    const int64_t rows = 5;
    const Guarded x(static_cast<size_t>(rows * dim), at_end);
    fill_normal(x.get(), rows * dim, 4.0f, static_cast<unsigned>(dim));
    for (const Path path : {AUTOMATIC, SHORT_ROW, RELOAD, SCRATCH, TWO_PASS}) {
        if (path == SHORT_ROW && dim > 512) continue;
        for (const int64_t cache : {int64_t{16}, int64_t{1} << 40}) {  // streamed stores, ordinary ones
            thresholds().cache_bytes = cache;
            const Guarded y(static_cast<size_t>(rows * dim), at_end);
            Job job = rows_job(SOFTMAX, x.get(), nullptr, y.get(), rows, dim);
            job.path = path;
            check(run(job, 1, false).kind == Outcome::DONE, "softmax runs");
            for (int64_t row = 0; row < rows; ++row) {
                const double error = ulps(y.get() + row * dim, exact_softmax(x.get() + row * dim, dim));
                check(error <= 6.0, "softmax " + std::to_string(dim) + " path " + std::to_string(path) + ": " +
                                        std::to_string(error) + " units");
            }
        }
    }
    thresholds().cache_bytes = 0;
}

void test_gradients_and_logs(int64_t dim, bool at_end) {
    const size_t n = static_cast<size_t>(dim);
    const Guarded x(n, at_end), y(n, at_end), log_y(n, at_end), dy(n, at_end), dx(n, at_end), total(1, at_end);
    fill_normal(x.get(), dim, 4.0f, 1);
    fill_normal(dy.get(), dim, 1.0f, 2);
    const std::vector<double> exact = exact_softmax(x.get(), dim);
    run(rows_job(SOFTMAX, x.get(), nullptr, y.get(), 1, dim), 1, false);
    run(rows_job(LOG_SOFTMAX, x.get(), nullptr, log_y.get(), 1, dim), 1, false);
    run(rows_job(LOGSUMEXP, x.get(), nullptr, total.get(), 1, dim), 1, false);
    double dot = 0.0, sum = 0.0;
    for (size_t i = 0; i < n; ++i) {
        dot += exact[i] * dy.get()[i];
        sum += dy.get()[i];
    }
    const double log_sum = x.get()[0] - std::log(exact[0]);
    check(std::fabs(total.get()[0] - log_sum) <= 2e-7 * std::fmax(1.0, std::fabs(log_sum)), "logsumexp");
    run(rows_job(SOFTMAX_BACKWARD, y.get(), dy.get(), dx.get(), 1, dim), 1, false);
    for (size_t i = 0; i < n; ++i) {
        check(std::fabs(log_y.get()[i] - (x.get()[i] - log_sum)) <= 2e-6 * std::fmax(1.0, log_sum), "log_softmax");
        check(std::fabs(dx.get()[i] - exact[i] * (dy.get()[i] - dot)) <= 1e-6, "softmax backward");
    }
    run(rows_job(LOG_SOFTMAX_BACKWARD, log_y.get(), dy.get(), dx.get(), 1, dim), 1, false);
    const double bound = 1e-6 * std::fmax(1.0, std::fabs(sum));
    for (size_t i = 0; i < n; ++i) {
        check(std::fabs(dx.get()[i] - (dy.get()[i] - exact[i] * sum)) <= bound, "log_softmax backward");
    }
}

void test_columns(int64_t dim, int64_t inner, bool at_end) {
    const size_t n = static_cast<size_t>(dim * inner);
    const Guarded x(n, at_end), y(n, at_end);
    fill_normal(x.get(), dim * inner, 4.0f, 3);
    Job job = rows_job(SOFTMAX, x.get(), nullptr, y.get(), 1, dim);
    job.inner = inner;
    run(job, 1, false);
    std::vector<float> column(static_cast<size_t>(dim)), result(static_cast<size_t>(dim));
    for (int64_t c = 0; c < inner; ++c) {
        for (int64_t i = 0; i < dim; ++i) {
            column[i] = x.get()[i * inner + c];
            result[i] = y.get()[i * inner + c];
        }
        check(ulps(result.data(), exact_softmax(column.data(), dim)) <= 6.0,
              "columns " + std::to_string(dim) + "x" + std::to_string(inner));
    }
}

void test_threads() {
    const int64_t rows = 3, dim = 200'000;
    std::vector<float> x(rows * dim), y(rows * dim), same(rows * dim);
    fill_normal(x.data(), rows * dim, 4.0f, 4);
    run(rows_job(SOFTMAX, x.data(), nullptr, same.data(), rows, dim), 1, true);
    for (const int threads : {1, 2, 3, 8}) {
        std::fill(y.begin(), y.end(), NAN);
        run(rows_job(SOFTMAX, x.data(), nullptr, y.data(), rows, dim), threads, false);
        for (int64_t row = 0; row < rows; ++row) {
            check(ulps(&y[row * dim], exact_softmax(&x[row * dim], dim)) <= 6.0, "threads");
        }
        run(rows_job(SOFTMAX, x.data(), nullptr, y.data(), rows, dim), threads, true);
        check(std::memcmp(y.data(), same.data(), y.size() * sizeof(float)) == 0, "deterministic");
    }
}

void test_degenerate_rows() {
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    for (const int64_t dim : {3, 40, 600}) {
        std::vector<float> x(dim, -inf), y(dim);
        Job job = rows_job(SOFTMAX, x.data(), nullptr, y.data(), 1, dim);
        run(job, 1, false);
        check(std::isnan(y[0]) && std::isnan(y[dim - 1]), "a masked row is NaN");
        job.masked_zero = true;
        run(job, 1, false);
        check(y[0] == 0.0f && y[dim - 1] == 0.0f, "a masked row is zero if asked for");
        for (const float value : {inf, nan}) {
            x.assign(dim, 1.0f);
            x[dim / 2] = value;
            run(job, 1, false);
            check(std::isnan(y[0]) && std::isnan(y[dim - 1]), "a NaN or +inf makes the row NaN");
        }
    }
}

void test_all() {
    for (const bool at_end : {false, true}) {
        for (const int64_t dim : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 129, 511, 513, 1025, 4097, 70000}) {
            test_softmax(dim, at_end);
            test_gradients_and_logs(dim, at_end);
        }
        for (const int64_t inner : {2, 3, 15, 16, 17, 64, 65}) {
            test_columns(33, inner, at_end);
            test_columns(300, inner, at_end);
        }
    }
    test_threads();
    test_degenerate_rows();
}

}  // namespace

int main() { return run_everywhere(test_all); }
