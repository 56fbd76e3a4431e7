// What power normalisation does with the statistics of a step, and what its passes multiply by; about the channels alone,
// computed in double, kept in float32.
#pragma once
#include <stdint.h>

namespace normkit {

// The channels of a layer and the parts of a step that all of these need; weight may be null, which is 1.
struct PowerChannels {
    int64_t channels;
    const float* weight;
    double eps;
};

// gain = weight / sqrt(divisor + eps).
void power_gain(const PowerChannels& layer, const float* divisor, float* gain);

// psi = Σ u² over `count` positions, divided by these; phi moves towards it: by a share of 1 - alpha, and in the warm-up
// by its part of the mean of all steps first.
struct PowerSchedule {
    int64_t number, warmup;
    double alpha;
};
void power_advance(int64_t channels, const PowerSchedule& step, const double* squares, double count, float* phi,
                   float* psi);

// What the forward pass left, and what the backward pass keeps: y was divided by sqrt(divisor + eps), the gradient is by
// sqrt(scale + eps); share: how much of `running` is taken out of the gradient.
struct PowerStep {
    const float* divisor;
    const float* scale;
    float* running;
    double share;
};

// The coefficients of dy and u in the gradient of u.
void power_pull(const PowerChannels& layer, const PowerStep& step, float* of_dy, float* of_u);

// From Σ dy u, Σ dy and Σ u² over all `count` positions: the gradients of weight and bias, and the move of `running`,
// which only what is finite moves.
void power_gradients(const PowerChannels& layer, const PowerStep& step, const double* along, const double* alone,
                     const double* squares, double count, float* weight, float* bias);

}  // namespace normkit
