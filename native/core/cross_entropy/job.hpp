// What the driver of cross-entropy and its kernels agree on. Plain data: safe to include everywhere.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "table.hpp"

namespace normkit {

// One call on rows of logits. With L = log sum_j e^(x_j), target class t, C classes, weights w and smoothing e:
//   loss  = (1 - e) w_t (L - x_t) + e/C sum_j w_j (L - x_j)
//   dx_j  = g [((1 - e) w_t + e/C sum_k w_k) softmax(x)_j - (1 - e) w_t [j = t] - e/C w_j]
// A row whose target is `ignore_index` has loss and gradient 0. Forward writes `loss`, `mantissa`, `exponent`;
// backward reads the last two, e^L = mantissa 2^exponent, and writes `dx`.
struct CrossEntropyJob {
    const void* x;
    const int64_t* target;
    const float* weight;  // one per class; null: all are 1
    int64_t rows, classes, stride;
    Storage storage;
    int64_t ignore_index;
    double smoothing;
    double class_weights;  // sum of `weight` over the classes
    float* mantissa;       // 0 marks a row that the fast kernels refuse
    float* exponent;
    float* loss;
    const float* grad;    // rows `grad_stride` elements apart; 0: one for all
    int64_t grad_stride;
    double grad_scale;    // 1 over the total weight for a mean
    void* dx;             // dense
    bool stream;          // non-temporal stores: dx will not be found in cache anyway
};

struct CrossEntropyKernels {
    // Losses of rows [begin, end); returns the first row whose target is no class, `end` if there is none.
    int64_t (*losses[STORAGES])(const CrossEntropyJob&, int64_t begin, int64_t end);
    void (*gradients[STORAGES])(const CrossEntropyJob&, int64_t begin, int64_t end);
    // Both while the rows are in cache; returns what `losses` does.
    int64_t (*losses_and_gradients[STORAGES])(const CrossEntropyJob&, int64_t begin, int64_t end);
};

}  // namespace normkit
