#include "unified_step.hpp"

#include <cmath>
#include <limits>

#include "statistic.hpp"

namespace normkit {
namespace {

constexpr int64_t SETTLED = 1000;  // the first so many steps are not compensated for the running statistic's distance
constexpr double LARGEST_RATIO = 5.0;

double bounded(double value, double low, double high) {  // a NaN stays
    return value < low ? low : value > high ? high : value;
}

// The geometric mean of `count` floats that lie `stride` apart; zeros count as the smallest normal number.
double geometric_mean(const float* values, int64_t count, int64_t stride) {
    constexpr double SMALLEST = std::numeric_limits<float>::min();
    double mantissas = 1.0;
    int64_t exponents = 0;
    for (int64_t i = 0; i < count; ++i) {
        const double value = static_cast<double>(values[i * stride]);
        int exponent = 0;
        mantissas = std::frexp(mantissas * (value < SMALLEST ? SMALLEST : value), &exponent);
        exponents += exponent;
    }
    return std::exp2((std::log2(mantissas) + static_cast<double>(exponents)) / static_cast<double>(count));
}

double mean(const float* values, int64_t count, int64_t stride) {
    double sum = 0.0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(values[i * stride]);
    return sum / static_cast<double>(count);
}

// The unbiased variance of the roots of all that the window holds.
double spread_of_roots(const UnifiedState& state) {
    const int64_t count = state.window * state.channels;
    double sum = 0.0, square = 0.0;
    for (int64_t i = 0; i < count; ++i) sum += std::sqrt(static_cast<double>(state.squares[i]));
    const double middle = sum / static_cast<double>(count);
    for (int64_t i = 0; i < count; ++i) {
        const double deviation = std::sqrt(static_cast<double>(state.squares[i])) - middle;
        square += deviation * deviation;
    }
    return square / static_cast<double>(count - 1);
}

bool is_outlier(const UnifiedState& state, double spread) {
    const double limit = static_cast<double>(state.window) * spread;
    for (int64_t c = 0; c < state.channels; ++c) {
        const float* column = state.squares + c;
        const double arithmetic = mean(column, state.window, state.channels);
        if (arithmetic - geometric_mean(column, state.window, state.channels) > limit) return true;
    }
    return false;
}

}  // namespace

void advance(const UnifiedState& state, const double* squares, double count, const float* weight, UnifiedStep& step,
             float* gain) {
    const int64_t number = ++*state.number, window = state.window;
    const bool smooths = window > 1 && number > window && number >= state.warmup;
    const bool filters = state.filters && smooths;
    const double spread = filters ? spread_of_roots(state) : 0.0;
    float* row = state.squares + number % window * state.channels;
    for (int64_t c = 0; c < state.channels; ++c) row[c] = or_nan(squares[c] / count);
    const bool outlier = filters && is_outlier(state, spread);
    step.number = number;
    step.skip = outlier || window <= 1;
    if (outlier) ++*state.skipped;
    const bool compensates = !step.skip && number > (state.warmup > SETTLED ? state.warmup : SETTLED);
    for (int64_t c = 0; c < state.channels; ++c) {
        const double running = static_cast<double>(state.running_var[c]);
        const double variance = smooths && !outlier ? geometric_mean(state.squares + c, window, state.channels)
                                                    : static_cast<double>(row[c]);
        const double ratio = compensates ? std::sqrt((variance + state.eps) / (running + state.eps)) : 1.0;
        step.ratio[c] = static_cast<float>(bounded(ratio, 1.0 / LARGEST_RATIO, LARGEST_RATIO));
        step.rstd[c] = static_cast<float>(1.0 / std::sqrt(variance + state.eps));
        gain[c] = step.rstd[c] * weight[c];
        if (outlier) row[c] = state.running_var[c];  // so that the outlier does not stay in the window
        state.running_var[c] = static_cast<float>(state.momentum * running + (1.0 - state.momentum) * variance);
    }
}

void smooth_gradient(const UnifiedState& state, const UnifiedStep& step, const double* along, const double* alone,
                     double count, const float* weight, const UnifiedGradient& found) {
    const int64_t window = state.gradient_window;
    const bool averages = !step.skip && step.number > window && step.number >= state.warmup;
    float* row = state.gradients + step.number % window * state.channels;
    for (int64_t c = 0; c < state.channels; ++c) {
        const double rstd = static_cast<double>(step.rstd[c]), ratio = static_cast<double>(step.ratio[c]);
        const double gain = static_cast<double>(weight[c]) * ratio, along_z = along[c] * rstd;
        const double before = static_cast<double>(state.gradient[c]);
        const float own = static_cast<float>(gain * along_z / count);
        const bool finite = std::isfinite(own);
        row[c] = step.skip || !finite ? state.gradient[c] : own;
        const double middle = averages ? mean(state.gradients + c, window, state.channels) : static_cast<double>(own);
        if (finite) state.gradient[c] = static_cast<float>(state.momentum * before + (1.0 - state.momentum) * middle);
        const double pull = step.skip ? middle : static_cast<double>(state.gradient[c]);
        found.of_dy[c] = static_cast<float>(gain * rstd);
        found.of_x[c] = static_cast<float>(pull * rstd * rstd);
        found.weight[c] = static_cast<float>(along_z * ratio);
        found.bias[c] = static_cast<float>(alone[c]);
    }
}

}  // namespace normkit
