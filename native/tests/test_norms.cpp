// The row norms of the core alone, against float64: every instruction set, on poisoned memory between two pages that
// may not be touched, with any number of threads, and under the sanitizers (-DNORMKIT_SANITIZE=ON) and qemu.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "stored.hpp"
#include "norms/norms.hpp"

namespace {

typedef std::vector<double> Doubles;

constexpr float NOT_A_NUMBER = std::numeric_limits<float>::quiet_NaN();
constexpr double EPS = 1e-5;

// --- the truth ---

struct Exact {
    double mean, r;
    Doubles n;  // the normalised row
};

Exact exact_row(NormOperation operation, const Doubles& s) {
    const double count = static_cast<double>(s.size());
    double sum = 0.0, square = 0.0;
    for (const double each : s) sum += each;
    const double mean = operation == LAYER_NORM ? sum / count : 0.0;
    for (const double each : s) square += (each - mean) * (each - mean);
    if (operation == COMPRESSED_NORM) square = (square + sum * sum) * count / (count + 1.0);
    Exact exact = {mean, 1.0 / std::sqrt(square / count + EPS), {}};
    for (const double each : s) exact.n.push_back((each - mean) * exact.r);
    return exact;
}

Doubles exact_gradient(NormOperation operation, const Doubles& s, const Exact& exact, const Doubles& g) {
    const double count = static_cast<double>(s.size());
    double g_sum = 0.0, g_n = 0.0, s_sum = 0.0;
    for (size_t i = 0; i < s.size(); ++i) {
        g_sum += g[i];
        g_n += g[i] * exact.n[i];
        s_sum += s[i];
    }
    Doubles dx;
    for (size_t i = 0; i < s.size(); ++i) {
        if (operation == LAYER_NORM) dx.push_back(exact.r * (g[i] - g_sum / count - exact.n[i] * g_n / count));
        if (operation == RMS_NORM) dx.push_back(exact.r * (g[i] - exact.n[i] * g_n / count));
        if (operation == COMPRESSED_NORM) {
            dx.push_back(exact.r * (g[i] - (s[i] + s_sum) * exact.r * g_n / (count + 1.0)));
        }
    }
    return dx;
}

// --- one call, forward and backward ---

struct Case {
    NormOperation operation;
    Storage storage;
    int64_t rows, dim;
    bool residual, weight, bias, at_end;
    int threads;

    float offset() const { return operation == LAYER_NORM ? 0.0f : 0.5f; }
    std::string name() const {
        return "operation " + std::to_string(operation) + " storage " + std::to_string(storage) + " " +
               std::to_string(rows) + "x" + std::to_string(dim) + (residual ? " residual" : "") +
               (weight ? " weight" : "") + (bias ? " bias" : "") + " threads " + std::to_string(threads) + ": ";
    }
};

class Call {
public:
    explicit Call(const Case& given)
        : given_(given),
          size_(given.rows * given.dim),
          x_(bytes(), given.at_end),
          residual_(bytes(), given.at_end),
          sum_(bytes(), given.at_end),
          y_(bytes(), given.at_end),
          dy_(bytes(), given.at_end),
          ds_(bytes(), given.at_end),
          dx_(bytes(), given.at_end),
          weight_(4 * given.dim, given.at_end),
          bias_(4 * given.dim, given.at_end),
          d_weight_(4 * given.dim, given.at_end),
          d_bias_(4 * given.dim, given.at_end),
          scales_(12 * given.rows, given.at_end) {
        fill(x_.get(), given.storage, size_, 1, 0.5);
        fill(residual_.get(), given.storage, size_, 2);
        fill(dy_.get(), given.storage, size_, 3);
        fill(ds_.get(), given.storage, size_, 4);
        fill(weight_.get(), FLOAT32, given.dim, 5, 1.0);
        fill(bias_.get(), FLOAT32, given.dim, 6);
        forward();
        backward();
    }

    void verify() const {
        Doubles d_weight(static_cast<size_t>(given_.dim)), d_bias(d_weight);
        for (int64_t row = 0; row < given_.rows; ++row) verify_row(row, d_weight, d_bias);
        const double bound = 5e-6 * std::sqrt(static_cast<double>(given_.rows));
        for (int64_t i = 0; i < given_.dim; ++i) {
            near(d_weight_.floats()[i], d_weight[i], bound, 2e-6, "gradient of the weight");
            near(d_bias_.floats()[i], d_bias[i], bound, 2e-6, "gradient of the bias");
        }
    }

    // Whether everything that does not add up rows is the same to the last bit.
    bool same_rows(const Call& other) const {
        const size_t n = static_cast<size_t>(bytes());
        return std::memcmp(y_.get(), other.y_.get(), n) == 0 && std::memcmp(dx_.get(), other.dx_.get(), n) == 0;
    }
    bool same_sums(const Call& other) const {
        const size_t n = static_cast<size_t>(4 * given_.dim);
        return std::memcmp(d_weight_.get(), other.d_weight_.get(), n) == 0 &&
               std::memcmp(d_bias_.get(), other.d_bias_.get(), n) == 0;
    }

private:
    int64_t bytes() const { return size_ * bytes_of(given_.storage); }

    void forward() const {
        NormJob job = {};
        job.operation = given_.operation;
        job.storage = given_.storage;
        job.x = x_.get();
        job.residual = given_.residual ? residual_.get() : nullptr;
        job.sum = given_.residual ? sum_.get() : nullptr;
        job.y = y_.get();
        job.weight = given_.weight ? weight_.floats() : nullptr;
        job.bias = given_.bias ? bias_.floats() : nullptr;
        job.scales = static_cast<RowScale*>(scales_.get());
        job.rows = given_.rows;
        job.dim = job.x_stride = given_.dim;
        job.eps = EPS;
        job.offset = given_.offset();
        check(run(job, given_.threads).kind == Outcome::DONE, given_.name() + "forward runs");
    }

    void backward() const {
        NormGradient job = {};
        job.operation = given_.operation;
        job.storage = given_.storage;
        job.s = given_.residual ? sum_.get() : x_.get();
        job.dy = dy_.get();
        job.ds = given_.residual ? ds_.get() : nullptr;
        job.dx = dx_.get();
        job.weight = given_.weight ? weight_.floats() : nullptr;
        job.scales = static_cast<const RowScale*>(scales_.get());
        job.weight_gradient = d_weight_.floats();
        job.bias_gradient = d_bias_.floats();
        job.rows = given_.rows;
        job.dim = given_.dim;
        job.offset = given_.offset();
        check(run(job, given_.threads).kind == Outcome::DONE, given_.name() + "backward runs");
    }

    // The bound holds for numbers up to 1, and in proportion above; `of_storage` is what the format itself costs.
    void near(double found, double exact, double bound, double of_storage, const char* what) const {
        const double error = std::fabs(found - exact);
        const double allowed = bound * std::fmax(1.0, std::fabs(exact)) + of_storage * std::fabs(exact);
        if (!(error <= allowed)) check(false, given_.name() + what + " is off by " + std::to_string(error));
    }

    void verify_row(int64_t row, Doubles& d_weight, Doubles& d_bias) const {
        Doubles s, g;
        const double unit = rounding(given_.storage);
        for (int64_t i = row * given_.dim; i < (row + 1) * given_.dim; ++i) {
            s.push_back(at(x_.get(), given_.storage, i));
            if (given_.residual) s.back() += at(residual_.get(), given_.storage, i);
            if (given_.residual) near(at(sum_.get(), given_.storage, i), s.back(), 0.0, unit, "sum");
        }
        const Exact exact = exact_row(given_.operation, s);
        for (int64_t i = 0; i < given_.dim; ++i) {
            const double w = given_.weight ? weight_.floats()[i] + given_.offset() : 1.0;
            const double b = given_.bias ? bias_.floats()[i] : 0.0;
            const double dy = at(dy_.get(), given_.storage, row * given_.dim + i);
            near(at(y_.get(), given_.storage, row * given_.dim + i), exact.n[i] * w + b, 2e-6, unit, "y");
            g.push_back(dy * w);
            d_weight[i] += dy * exact.n[i];
            d_bias[i] += dy;
        }
        const Doubles dx = exact_gradient(given_.operation, s, exact, g);
        for (int64_t i = 0; i < given_.dim; ++i) {
            const double ds = given_.residual ? at(ds_.get(), given_.storage, row * given_.dim + i) : 0.0;
            // dx is a difference of terms of size r |g|: in a row of one or two entries r is large and dx is not.
            const double bound = 4e-6 * std::fmax(1.0, exact.r);
            near(at(dx_.get(), given_.storage, row * given_.dim + i), dx[i] + ds, bound, unit, "dx");
        }
    }

    Case given_;
    int64_t size_;
    Poisoned x_, residual_, sum_, y_, dy_, ds_, dx_, weight_, bias_, d_weight_, d_bias_, scales_;
};

// --- the tests ---

void test_shape(int64_t rows, int64_t dim, bool at_end) {
    for (const NormOperation operation : {LAYER_NORM, RMS_NORM, COMPRESSED_NORM}) {
        for (const int64_t cache : {int64_t{16}, int64_t{1} << 40}) {  // streamed stores, ordinary ones
            thresholds().cache_bytes = cache;
            Call({operation, FLOAT32, rows, dim, false, true, true, at_end, 1}).verify();
            Call({operation, FLOAT32, rows, dim, false, false, false, at_end, 1}).verify();
            Call({operation, FLOAT32, rows, dim, true, true, false, at_end, 1}).verify();
            if (dim > 5000) continue;
            Call({operation, BFLOAT16, rows, dim, false, true, true, at_end, 1}).verify();
            Call({operation, FLOAT16, rows, dim, false, false, true, at_end, 1}).verify();
        }
    }
    thresholds().cache_bytes = 0;
}

// y is the same whether the sum of x and the residual is wanted or only passed through scratch.
void test_sum_that_is_not_kept(int64_t dim, int threads) {
    for (const Storage storage : {FLOAT32, BFLOAT16}) {
        const int64_t bytes = 5 * dim * bytes_of(storage);
        const Poisoned x(bytes, true), residual(bytes, true), sum(bytes, true), kept(bytes, true), dropped(bytes, true);
        fill(x.get(), storage, 5 * dim, 1);
        fill(residual.get(), storage, 5 * dim, 2);
        NormJob job = {};
        job.operation = LAYER_NORM;
        job.storage = storage;
        job.x = x.get();
        job.residual = residual.get();
        job.rows = 5;
        job.dim = job.x_stride = dim;
        job.eps = EPS;
        job.sum = sum.get();
        job.y = kept.get();
        run(job, threads);
        job.sum = nullptr;
        job.y = dropped.get();
        run(job, threads);
        check(std::memcmp(kept.get(), dropped.get(), static_cast<size_t>(bytes)) == 0, "a sum that is not kept");
    }
}

void test_threads() {
    for (const int64_t rows : {3, 5, 67}) {
        const int64_t dim = rows == 67 ? 1001 : 70'000;
        const Case alone = {LAYER_NORM, FLOAT32, rows, dim, false, true, true, true, 1};
        const Call serial(alone);
        for (const int threads : {1, 2, 3, 8}) {
            Case many = alone;
            many.threads = threads;
            const Call call(many), again(many);
            call.verify();
            check(call.same_rows(serial), many.name() + "rows do not depend on the number of threads");
            check(call.same_sums(again), many.name() + "gradients of the parameters are the same every time");
        }
    }
}

// Fewer rows than threads: they share the parts of each row, and nothing that adds up no rows changes by it.
void test_parts_of_long_rows() {
    for (const NormOperation operation : {LAYER_NORM, RMS_NORM, COMPRESSED_NORM}) {
        for (const Storage storage : {FLOAT32, BFLOAT16}) {
            for (const bool full : {false, true}) {
                for (const int64_t cache : {int64_t{16}, int64_t{1} << 40}) {
                    thresholds().cache_bytes = cache;
                    const Case alone = {operation, storage, 2, 150'001, full, full, full, true, 1};
                    Case many = alone;
                    many.threads = 3;
                    const Call serial(alone), parts(many);
                    parts.verify();
                    check(parts.same_rows(serial), many.name() + "parts of rows are the rows");
                }
            }
        }
    }
    thresholds().cache_bytes = 0;
}

// y = 0 for a row of equal entries; a row with a NaN or an infinity is NaN, and only that row.
void test_degenerate_rows() {
    for (const int64_t dim : {1, 3, 40, 600, 5000}) {
        std::vector<float> x(static_cast<size_t>(6 * dim), 3.0f), y(x.size(), NOT_A_NUMBER);
        NormJob job = {};
        job.operation = LAYER_NORM;
        job.x = x.data();
        job.y = y.data();
        job.rows = 6;
        job.dim = job.x_stride = dim;
        job.eps = EPS;
        run(job, 1);
        bool zero = true;
        for (const float value : y) zero = zero && value == 0.0f;
        check(zero, "a row of equal entries is 0, " + std::to_string(dim));
        for (const float value : {NOT_A_NUMBER, HUGE_VALF, -HUGE_VALF}) {
            x[static_cast<size_t>(2 * dim + dim / 2)] = value;
            run(job, 1);
            bool as_wanted = true;
            for (int64_t i = 0; i < 6 * dim; ++i) {
                as_wanted = as_wanted && std::isnan(y[static_cast<size_t>(i)]) == (i / dim == 2);
            }
            check(as_wanted, "NaN fills its row and no other, " + std::to_string(dim));
        }
    }
}

// Mean 1e4, deviation 1e-2: what float32 can tell of such a row is normalised as if it were near 0.
void test_offset() {
    for (const int64_t dim : {33, 512, 4097, 20'000}) {
        std::mt19937 draw(7);
        std::normal_distribution<float> normal(1e4f, 1e-2f);
        std::vector<float> x(static_cast<size_t>(dim)), y(x.size(), NOT_A_NUMBER);
        Doubles exact;
        for (float& value : x) exact.push_back(value = normal(draw));
        NormJob job = {};
        job.operation = LAYER_NORM;
        job.x = x.data();
        job.y = y.data();
        job.rows = 1;
        job.dim = job.x_stride = dim;
        job.eps = EPS;
        run(job, 1);
        const Exact row = exact_row(LAYER_NORM, exact);
        double worst = 0.0;
        for (size_t i = 0; i < x.size(); ++i) {
            const double error = std::fabs(y[i] - row.n[i]);
            worst = error <= worst ? worst : error;  // a NaN is the worst
        }
        check(worst <= 2e-6, "rows far from 0, " + std::to_string(dim));
    }
}

void test_all() {
    for (const bool at_end : {false, true}) {
        for (const int64_t dim : {1, 2, 7, 8, 9, 31, 32, 33, 63, 65, 511, 512, 513, 4095, 4096, 4097}) {
            test_shape(7, dim, at_end);
        }
        test_shape(2, 70'000, at_end);
        test_shape(300, 9, at_end);  // more rows than are added up in float32
    }
    for (const int64_t dim : {1, 33, 512, 4097}) test_sum_that_is_not_kept(dim, 1);
    test_sum_that_is_not_kept(70'000, 8);
    test_threads();
    test_parts_of_long_rows();
    test_degenerate_rows();
    test_offset();
}

}  // namespace

int main() { return run_everywhere(test_all); }
