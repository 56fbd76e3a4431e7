// What unified normalisation does with the statistics of a step: windows, averages, and the test for outliers.
//
// All of it is about the channels alone: a few numbers each, for which some forty calls of a tensor library would take
// longer than the passes over x. Computed in double, kept in float32.
#pragma once
#include <stdint.h>

namespace normkit {

// What the layer keeps between steps; the windows hold `window` rows of `channels`.
struct UnifiedState {
    float* running_var;
    float* squares;     // the last mean squares
    int64_t window;
    float* gradient;    // the moving average of what stands for the batch in the gradient
    float* gradients;   // the last of what it averages
    int64_t gradient_window;
    int64_t* number;    // steps so far
    int64_t* skipped;   // batches that were outliers
    int64_t channels;
    double momentum, eps;
    int64_t warmup;
    bool filters;       // whether outliers among the batches are skipped
};

// By what one step normalises; filled in by `advance`.
struct UnifiedStep {
    float* rstd;
    float* ratio;
    int64_t number;
    bool skip;
};

// Takes a batch's mean squares, Σ x² over `count` positions, into the state. gain: rstd times the weight.
void advance(const UnifiedState& state, const double* squares, double count, const float* weight, UnifiedStep& step,
             float* gain);

// What the backward pass multiplies dy and x by, and the gradients of weight and bias.
struct UnifiedGradient {
    float* of_dy;
    float* of_x;
    float* weight;
    float* bias;
};

// Takes Σ dy x over `count` positions into the state, which only what is finite moves; alone: Σ dy.
void smooth_gradient(const UnifiedState& state, const UnifiedStep& step, const double* along, const double* alone,
                     double count, const float* weight, const UnifiedGradient& found);

}  // namespace normkit
