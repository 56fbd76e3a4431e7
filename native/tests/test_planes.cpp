// Tests of the channel norms of the core: no Python, no torch. Under every instruction set that the machine has, on
// memory that ends at a page that may not be touched, results poisoned before, against sums in double. Gradients are
// compared with differences of values, in double, of the same formulas.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "guarded.hpp"
#include "planes/planes.hpp"

namespace {

void fill_normal(float* x, size_t n, unsigned seed, float mean = 0.0f, float deviation = 1.0f) {
    std::mt19937 draw(seed);
    std::normal_distribution<float> normal(mean, deviation);
    for (size_t i = 0; i < n; ++i) x[i] = normal(draw);
}

struct Shape {
    int64_t batch, channels, groups, size;
    int64_t elements() const { return batch * channels * size; }
};

// One call with everything that it can need; runs forward into `y`, backward into `dx`.
struct Call {
    Shape shape;
    PlanesOperation operation;
    ChannelStatistics statistics;
    Denominator denominator = ROOT_PLUS_EPS;
    std::vector<float> weight, bias, v, bn_weight, bn_bias, running_mean, running_var;
    std::vector<float> gradients[5];
    std::vector<double> moments, channel_moments;

    Call(PlanesOperation o, ChannelStatistics s, const Shape& given) : shape(given), operation(o), statistics(s) {
        if (o == WEIGHT_STANDARDIZE) shape = {given.batch * given.channels, 1, 1, given.size};
        if (o == EVONORM_B0) shape.groups = shape.channels;
        const size_t c = static_cast<size_t>(shape.channels);
        unsigned seed = 10;
        for (std::vector<float>* parameter : {&weight, &bias, &v, &bn_weight, &bn_bias, &running_mean, &running_var}) {
            parameter->resize(c);
            fill_normal(parameter->data(), c, ++seed);
        }
        for (float& variance : running_var) variance = std::fabs(variance) + 0.5f;
        for (std::vector<float>& gradient : gradients) gradient.assign(c, NAN);
        moments.assign(2 * c * static_cast<size_t>(shape.batch), NAN);
        channel_moments.assign(2 * c, NAN);
    }

    Outcome run(const float* x, const float* dy, float* out, int threads) {
        PlanesJob job = {};
        job.operation = operation;
        job.backward = dy != nullptr;
        job.statistics = statistics;
        job.denominator = denominator;
        job.storage = FLOAT32;
        job.batch = shape.batch;
        job.channels = shape.channels;
        job.groups = shape.groups;
        job.size = shape.size;
        job.eps = 1e-3;
        job.speed = 0.1;
        job.x = x;
        job.dy = dy;
        job.out = out;
        job.moments = moments.data();
        job.channel_moments = channel_moments.data();
        job.running_mean = running_mean.data();
        job.running_var = running_var.data();
        job.weight = weight.data();
        job.bias = bias.data();
        job.v = v.data();
        job.bn_weight = bn_weight.data();
        job.bn_bias = bn_bias.data();
        job.weight_gradient = gradients[0].data();
        job.bias_gradient = gradients[1].data();
        job.v_gradient = gradients[2].data();
        job.bn_weight_gradient = gradients[3].data();
        job.bn_bias_gradient = gradients[4].data();
        return normkit::run(job, threads);
    }
};

struct Stat {
    double mean = 0.0, variance = 0.0;
};
// Over channels [first, last) of samples [from, to).
Stat stat(const Shape& s, const std::vector<double>& x, int64_t from, int64_t to, int64_t first, int64_t last) {
    double sum = 0.0, square = 0.0, count = 0.0;
    const auto each = [&](auto visit) {
        for (int64_t b = from; b < to; ++b) {
            for (int64_t i = (b * s.channels + first) * s.size; i < (b * s.channels + last) * s.size; ++i) visit(x[i]);
        }
    };
    each([&](double value) { sum += value, count += 1.0; });
    each([&](double value) { square += (value - sum / count) * (value - sum / count); });
    return {sum / count, square / count};
}

// The formula, in double; statistics of channels that are not the batch's are `mean` and `variance`.
std::vector<double> exact(const Call& call, const std::vector<double>& x, const std::vector<double>& mean,
                          const std::vector<double>& variance) {
    const Shape& s = call.shape;
    const int64_t per_group = s.channels / s.groups;
    const double eps = 1e-3;
    std::vector<double> y(x.size()), normed = x;
    const auto each = [&](auto visit) {
        for (int64_t b = 0; b < s.batch; ++b) {
            for (int64_t c = 0; c < s.channels; ++c) {
                visit(b, c, (b * s.channels + c) * s.size);
            }
        }
    };
    const auto channel = [&](int64_t c) {
        return call.statistics == OF_BATCH ? stat(s, x, 0, s.batch, c, c + 1) : Stat{mean[c], variance[c]};
    };
    if (call.operation == BATCH_CHANNEL_NORM) {
        each([&](int64_t, int64_t c, int64_t at) {
            const Stat of = channel(c);
            for (int64_t i = at; i < at + s.size; ++i) {
                normed[i] = (x[i] - of.mean) / std::sqrt(of.variance + eps) * call.bn_weight[c] + call.bn_bias[c];
            }
        });
    }
    each([&](int64_t b, int64_t c, int64_t at) {
        const int64_t g = c / per_group;
        const Stat group = stat(s, normed, b, b + 1, g * per_group, (g + 1) * per_group);
        const double r = 1.0 / std::sqrt(group.variance + eps), w = call.weight[c], bias = call.bias[c];
        const double n = static_cast<double>(s.size);
        const double left = std::sqrt(stat(s, x, b, b + 1, c, c + 1).variance + eps);
        const double right = call.operation == EVONORM_B0 ? std::sqrt(channel(c).variance + eps) : 0.0;
        for (int64_t i = at; i < at + s.size; ++i) {
            switch (call.operation) {
                case GROUP_NORM: y[i] = (x[i] - group.mean) * r * w + bias; break;
                case EVONORM_S0: y[i] = x[i] / (1.0 + std::exp(-call.v[c] * x[i])) * r * w + bias; break;
                case EVONORM_B0: y[i] = x[i] / std::fmax(right, call.v[c] * x[i] + left) * w + bias; break;
                case BATCH_CHANNEL_NORM: y[i] = (normed[i] - group.mean) * r * call.weight[g] + call.bias[g]; break;
                default: {
                    const double unbiased = group.variance * n / (n - 1.0);
                    const double sigma = call.denominator == ROOT_PLUS_EPS ? std::sqrt(unbiased) + eps
                                         : call.denominator == ROOT_OF_SUM ? std::sqrt(unbiased + eps)
                                                                           : std::sqrt(group.variance + eps);
                    y[i] = (x[i] - group.mean) / sigma;
                }
            }
        }
    });
    return y;
}

std::vector<double> in_double(const std::vector<float>& values) { return {values.begin(), values.end()}; }

double worst(const float* ours, const std::vector<double>& wanted) {
    double error = 0.0, largest = 1.0;
    for (size_t i = 0; i < wanted.size(); ++i) {
        largest = std::fmax(largest, std::fabs(wanted[i]));
        error = std::isnan(ours[i]) ? INFINITY : std::fmax(error, std::fabs(ours[i] - wanted[i]));
    }
    return error / largest;
}

// Values against the formula; the gradient along one direction against the difference of values along it.
void test_call(Call call, bool at_end, const std::string& name) {
    const size_t n = static_cast<size_t>(call.shape.elements());
    const Guarded x(n, at_end), y(n, at_end), dy(n, at_end), dx(n, at_end);
    fill_normal(x.get(), n, 1);
    fill_normal(dy.get(), n, 2);
    call.run(x.get(), nullptr, y.get(), 1);
    const std::vector<double> mean = in_double(call.running_mean), variance = in_double(call.running_var);
    const std::vector<double> at(x.get(), x.get() + n);
    check(worst(y.get(), exact(call, at, mean, variance)) <= 3e-6, name + " value");

    call.run(x.get(), dy.get(), dx.get(), 1);
    std::vector<float> direction(n);
    fill_normal(direction.data(), n, 3);
    double slope = 0.0, found = 0.0, size = 0.0;
    std::vector<double> ahead = at, behind = at;
    const double step = 1e-6;
    for (size_t i = 0; i < n; ++i) {
        ahead[i] += step * direction[i];
        behind[i] -= step * direction[i];
    }
    const std::vector<double> above = exact(call, ahead, mean, variance), below = exact(call, behind, mean, variance);
    for (size_t i = 0; i < n; ++i) {
        slope += dy.get()[i] * (above[i] - below[i]) / (2.0 * step);
        found += static_cast<double>(dx.get()[i]) * direction[i];
        size += std::fabs(static_cast<double>(dx.get()[i]) * direction[i]);
    }
    check(std::fabs(slope - found) <= 1e-4 * (size + 1e-3), name + " gradient");

    const std::vector<float> before(y.get(), y.get() + n);
    Call again = call;
    again.statistics = call.statistics == OF_BATCH ? OF_BATCH : GIVEN;
    again.run(x.get(), nullptr, x.get(), 1);
    check(std::memcmp(before.data(), x.get(), n * sizeof(float)) == 0, name + " in place");
}

void test_threads(const Call& given, const std::string& name) {
    const size_t n = static_cast<size_t>(given.shape.elements());
    std::vector<float> x(n), dy(n), y(n), dx(n), same_y(n), same_dx(n);
    fill_normal(x.data(), n, 1);
    fill_normal(dy.data(), n, 2);
    Call alone = given;
    alone.run(x.data(), nullptr, same_y.data(), 1);
    alone.run(x.data(), dy.data(), same_dx.data(), 1);
    for (const int threads : {2, 3, 8}) {
        Call shared = given;
        std::fill(y.begin(), y.end(), NAN);
        std::fill(dx.begin(), dx.end(), NAN);
        shared.run(x.data(), nullptr, y.data(), threads);
        shared.run(x.data(), dy.data(), dx.data(), threads);
        check(std::memcmp(y.data(), same_y.data(), n * sizeof(float)) == 0, name + " threads, value");
        check(std::memcmp(dx.data(), same_dx.data(), n * sizeof(float)) == 0, name + " threads, gradient");
        for (int k = 0; k < 5; ++k) {
            const size_t bytes = shared.gradients[k].size() * sizeof(float);
            check(std::memcmp(shared.gradients[k].data(), alone.gradients[k].data(), bytes) == 0,
                  name + " threads, parameters");
        }
    }
}

std::vector<std::pair<std::string, Call>> calls(const Shape& shape) {
    std::vector<std::pair<std::string, Call>> all = {
        {"group_norm", Call(GROUP_NORM, GIVEN, shape)},
        {"evonorm_s0", Call(EVONORM_S0, GIVEN, shape)},
        {"evonorm_b0", Call(EVONORM_B0, OF_BATCH, shape)},
        {"evonorm_b0 eval", Call(EVONORM_B0, GIVEN, shape)},
        {"batch_channel_norm", Call(BATCH_CHANNEL_NORM, OF_BATCH, shape)},
        {"batch_channel_norm estimate", Call(BATCH_CHANNEL_NORM, ESTIMATED, shape)},
        {"batch_channel_norm eval", Call(BATCH_CHANNEL_NORM, GIVEN, shape)},
    };
    for (const Denominator denominator : {ROOT_PLUS_EPS, ROOT_OF_SUM, ROOT_OF_BIASED_SUM}) {
        Call call(WEIGHT_STANDARDIZE, GIVEN, shape);
        call.denominator = denominator;
        all.emplace_back("weight_standardize", call);
    }
    return all;
}

void test_refusals() {
    float x[4] = {1.0f, 2.0f, 3.0f, 4.0f}, y[4];
    check(Call(GROUP_NORM, GIVEN, {1, 4, 3, 1}).run(x, nullptr, y, 1).kind == Outcome::BAD_JOB, "3 groups of 4");
    check(Call(GROUP_NORM, GIVEN, {0, 4, 2, 1}).run(x, nullptr, y, 1).kind == Outcome::BAD_JOB, "an empty batch");
}

void test_all() {
    for (const bool at_end : {false, true}) {
        for (const int64_t size : {2, 3, 7, 15, 16, 17, 33, 49, 64, 65, 511, 512, 513, 1025, 5000}) {
            for (const auto& [name, call] : calls({3, 6, 2, size})) {
                test_call(call, at_end, name + ", planes of " + std::to_string(size));
            }
        }
    }
    for (const auto& [name, call] : calls({6, 12, 4, 700})) test_threads(call, name);
    for (const auto& [name, call] : calls({2, 4, 1, 9000})) test_threads(call, name + ", one group");
    thresholds().cache_bytes = 16;
    for (const auto& [name, call] : calls({2, 4, 2, 333})) test_call(call, true, name + ", streamed");
    thresholds().cache_bytes = 0;
    test_refusals();
}

}  // namespace

int main() { return run_everywhere(test_all); }
