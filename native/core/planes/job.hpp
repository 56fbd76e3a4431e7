// What the driver of the channel norms and its kernels agree on. Plain data: safe to include everywhere.
//
// A tensor is (batch, channels, size), contiguous. A plane is the `size` elements of one sample and channel; a group is
// channels / groups planes of one sample, side by side in memory.
#pragma once
#include <stdint.h>

#include "table.hpp"

namespace normkit {

enum PlanesOperation : int {
    GROUP_NORM = 0,
    EVONORM_S0 = 1,
    EVONORM_B0 = 2,
    BATCH_CHANNEL_NORM = 3,
    WEIGHT_STANDARDIZE = 4,  // batch filters, one channel, one group
    PLANES_OPERATIONS
};

// The denominators of weight standardisation: V = Σ (w - mean)^2 / (n - 1), or / n for the last.
enum Denominator : int { ROOT_PLUS_EPS = 0, ROOT_OF_SUM = 1, ROOT_OF_BIASED_SUM = 2, DENOMINATORS };

// Which statistics of the channels the operation takes (evonorm_b0, batch_channel_norm).
enum ChannelStatistics : int {
    GIVEN = 0,      // `running_*` as they are
    ESTIMATED = 1,  // `running_*` after this batch has moved them; constants to the gradient
    OF_BATCH = 2,   // this batch's own; `running_*` are moved, the gradient passes through
    CHANNEL_STATISTICS
};

// One call. Parameters are float32; those that are null are 1 (weight) or 0 (bias).
struct PlanesJob {
    PlanesOperation operation;
    bool backward;
    ChannelStatistics statistics;
    Denominator denominator;
    Storage storage;
    int64_t batch, channels, groups, size;
    double eps, speed;  // speed: of the running statistics
    const void* x;
    const void* dy;  // backward
    void* out;       // y or dx
    // Mean, then Σ (x - mean)^2, of each group (each plane for evonorm_b0 and batch_channel_norm); written forward,
    // read backward. Null forward where nobody asks.
    double* moments;
    // Mean, then variance, of each channel as used (evonorm_b0, batch_channel_norm); the same.
    double* channel_moments;
    float* running_mean;
    float* running_var;
    const float* weight;
    const float* bias;
    const float* v;
    const float* bn_weight;
    const float* bn_bias;
    float* weight_gradient;
    float* bias_gradient;
    float* v_gradient;
    float* bn_weight_gradient;
    float* bn_bias_gradient;
};

// The function of x that is applied to a plane, and of (x, dy) on the way back; d = max(batch, v x + instance).
//   AFFINE  y = scale (x - centre) + shift         dx = scale dy                         + slope (x - centre) + shift
//   SWISH   y = scale x σ(v x) + shift             dx = scale dy (x σ(v x))'             + slope (x - centre) + shift
//   LARGER  y = scale x / d + shift                dx = scale dy (1/d - [d is left of x] v x / d^2) + ...
struct Curve {
    float scale, shift, centre, v;
    float instance, batch, slope, unused;
};
enum CurveKind : int { AFFINE = 0, SWISH = 1, LARGER = 2, CURVE_KINDS };

// Sums over a plane that a backward pass needs.
//   AFFINE  Σ dy, Σ dy (x - centre)
//   SWISH   Σ dy, Σ dy x σ, Σ dy x^2 σ (1 - σ)
//   LARGER  Σ dy, Σ dy x / d, then of e = dy x / d^2: Σ e left, Σ e (1 - left), Σ e left x; left: 1 where d is v x +
//           instance, 1/2 where the two are equal
struct PlaneSums {
    double of[5];
};

// The kernels of one instruction set.
struct PlanesKernels {
    // Mean and Σ (x - mean)^2 of rows [begin, end), each `length` long.
    void (*moments[STORAGES])(const void* x, int64_t begin, int64_t end, int64_t length, double* mean, double* square);
    // Planes [begin, end); curves[0] belongs to plane `begin`, as sums[0] does.
    void (*write[CURVE_KINDS][STORAGES])(const void* x, void* y, int64_t begin, int64_t end, int64_t size,
                                         const Curve* curves, bool stream);
    void (*sum[CURVE_KINDS][STORAGES])(const void* x, const void* dy, int64_t begin, int64_t end, int64_t size,
                                       const Curve* curves, PlaneSums* sums);
    // The same for float32, and `kept`, which may be dx, gets the factor of `scale` in dx: that pass is AFFINE then.
    void (*sum_and_keep[CURVE_KINDS])(const void* x, const void* dy, void* kept, int64_t begin, int64_t end,
                                      int64_t size, const Curve* curves, PlaneSums* sums);
    void (*pull[CURVE_KINDS][STORAGES])(const void* x, const void* dy, void* dx, int64_t begin, int64_t end,
                                        int64_t size, const Curve* curves, bool stream);
};

}  // namespace normkit
