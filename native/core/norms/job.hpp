// What the driver of the row norms and its kernels agree on. Plain data: safe to include everywhere.
#pragma once
#include <stdint.h>

#include "table.hpp"

namespace normkit {

// Of a row s of `dim` entries, with weights w, shifts b and an offset o:
//   LAYER_NORM       y = (s - mean) r (o + w) + b      r = 1/sqrt(variance + eps)
//   RMS_NORM         y = s r (o + w) + b               r = 1/sqrt(mean s^2 + eps)
//   COMPRESSED_NORM  y = s r (o + w) + b               r = 1/sqrt((sum s^2 + (sum s)^2)/(dim + 1) + eps)
enum NormOperation : int { LAYER_NORM = 0, RMS_NORM = 1, COMPRESSED_NORM = 2, NORM_OPERATIONS };

// What the backward pass needs of a row: its entries are normalised as (s - centre) r - shift.
//   layer norm: centre + shift/r is the mean, to twice float32's digits;   compressed norm: shift is -r sum s.
struct RowScale {
    float centre, shift, r;
};

// Rows lie `dim` apart, but those of x, which start `x_stride` elements apart. Pointers marked "or null" may be absent.
struct NormJob {
    NormOperation operation;
    Storage storage;  // of x, residual, sum and y
    const void* x;
    const void* residual;  // or null: s = x + residual, rounded to the storage, is what is normalised
    void* sum;             // or null: receives s where there is a residual
    void* y;
    const float* weight;  // or null: w = 1 - o
    const float* bias;    // or null: b = 0
    RowScale* scales;     // or null: receives what the backward pass needs
    int64_t rows, dim, x_stride;
    double eps;
    float offset;
    bool round_first;  // (s - mean) r is rounded to the storage before it is multiplied
    bool stream;       // non-temporal stores: the output will not be found in cache anyway
};

// dx = r (g - mean g - n mean(g n)) + ds with g = dy (o + w) and n the normalised row; without mean g in the RMS norms.
struct NormGradient {
    NormOperation operation;
    Storage storage;  // of s, dy, ds and dx
    const void* s;
    const void* dy;
    const void* ds;  // or null: the gradient that reached s by other ways
    void* dx;
    const float* weight;  // or null
    const RowScale* scales;
    float* weight_gradient;  // or null
    float* bias_gradient;    // or null
    int64_t rows, dim;
    float offset;
    bool stream;
};

// Longer rows are added up in parts of this length, whoever adds them: few long rows are shared among threads by parts.
constexpr int64_t LONGEST_PART = 64 << 10;

// What a part adds to its row. Layer norm: its mean and Σ (s - mean)^2;   the others: Σ s and Σ s^2.
struct RowShare {
    double first, second;
};

// Σ g and Σ g n over a row or a part of it.
struct GradientSums {
    double g, g_n;
};

struct NormKernels {
    // Rows [begin, end); scratch: room for `dim` floats where there is a residual.
    void (*forward[STORAGES])(const NormJob&, int64_t begin, int64_t end, float* scratch);
    // Rows [begin, end); adds to weight and bias, both of `dim` floats, where they are wanted.
    void (*backward[STORAGES])(const NormGradient&, int64_t begin, int64_t end, float* weight, float* bias);

    // The same for a part of one row: a job of one row whose pointers are the part's and whose `dim` is its length.
    // The first writes the part's sum with the residual, if there is one, to `part.sum`.
    RowShare (*measure[STORAGES])(const NormJob& part);
    void (*write[STORAGES])(const NormJob& part, const RowScale&);
    GradientSums (*gradient_sums[STORAGES])(const NormGradient& part);
    // `row`: the sums of the whole row, of `dim` entries; adds to weight and bias.
    void (*write_gradient[STORAGES])(const NormGradient& part, const GradientSums& row, int64_t dim, float* weight,
                                     float* bias);
};

}  // namespace normkit
