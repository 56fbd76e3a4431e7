#include "power_step.hpp"

#include <cmath>

#include "statistic.hpp"

namespace normkit {
namespace {

double root(float squared, double eps) { return 1.0 / std::sqrt(static_cast<double>(squared) + eps); }

double weight_of(const PowerChannels& layer, int64_t c) {
    return layer.weight ? static_cast<double>(layer.weight[c]) : 1.0;
}

// How much of the normalised row is taken out of the gradient.
double pull_of(const PowerStep& step, int64_t c, double root_of_divisor) {
    return step.share * static_cast<double>(step.running[c]) * root_of_divisor;
}

}  // namespace

void power_gain(const PowerChannels& layer, const float* divisor, float* gain) {
    for (int64_t c = 0; c < layer.channels; ++c) {
        gain[c] = static_cast<float>(weight_of(layer, c) * root(divisor[c], layer.eps));
    }
}

void power_advance(int64_t channels, const PowerSchedule& step, const double* squares, double count, float* phi,
                   float* psi) {
    for (int64_t c = 0; c < channels; ++c) {
        psi[c] = or_nan(squares[c] / count);
        const double found = static_cast<double>(psi[c]);
        double before = static_cast<double>(phi[c]);
        if (step.number < step.warmup) before += (found - before) / static_cast<double>(step.number);
        phi[c] = static_cast<float>(before + (1.0 - step.alpha) * (found - before));
    }
}

void power_pull(const PowerChannels& layer, const PowerStep& step, float* of_dy, float* of_u) {
    for (int64_t c = 0; c < layer.channels; ++c) {
        const double scale = root(step.scale[c], layer.eps);
        of_dy[c] = static_cast<float>(scale * weight_of(layer, c));
        of_u[c] = static_cast<float>(pull_of(step, c, root(step.divisor[c], layer.eps)) * scale);
    }
}

void power_gradients(const PowerChannels& layer, const PowerStep& step, const double* along, const double* alone,
                     const double* squares, double count, float* weight, float* bias) {
    for (int64_t c = 0; c < layer.channels; ++c) {
        const double by = root(step.divisor[c], layer.eps), along_normalised = along[c] * by;
        const double taken = pull_of(step, c, by) * by * squares[c];
        const float moved = static_cast<float>((along_normalised * weight_of(layer, c) - taken) / count);
        if (std::isfinite(moved)) step.running[c] += moved;
        weight[c] = static_cast<float>(along_normalised);
        bias[c] = static_cast<float>(alone[c]);
    }
}

}  // namespace normkit
