// What the driver of the column norms and its kernels agree on. Plain data: safe to include everywhere.
#pragma once
#include <stdint.h>

#include "table.hpp"

namespace normkit {

// Rows of `channels` numbers, one after the other; what they are normalised by belongs to a channel, over the rows.
// With `groups`, the channels of each row are first divided by their groups' own quadratic mean, one scale s a group:
//   u = x s,  s = 1/sqrt(mean of x^2 over the group + eps);     u = x where groups is 0.
// Then y = u gain + shift, and the channels' sums of u^2. Pointers marked "or null" may be absent.
struct ColumnJob {
    Storage storage;  // of x and y
    const void* x;
    void* y;             // or null: only the sums are wanted
    const float* gain;   // one a channel; read where there is y
    const float* shift;  // one a channel, or null
    float* scales;       // s, `groups` a row; null where groups is 0
    bool scaled;         // the scales are given; else they are written
    const uint8_t* left_out;   // one a row, or null: rows whose squares belong to the other sum
    double* squares;           // or null: the sum over rows that are not left out
    double* left_out_squares;  // or null: the sum over those that are
    int64_t rows, channels, groups;
    double eps;
    bool stream;  // non-temporal stores: the output will not be found in cache anyway
};

// du = of_dy dy - of_u u per channel; dx = (du - u mean of du u over the group) s with groups, else du. And the
// channels' sums of dy u and of dy.
struct ColumnGradient {
    Storage storage;  // of x, dy and dx
    const void* x;
    const void* dy;
    void* dx;  // or null: only the sums are wanted
    const float* scales;
    const float* of_dy;  // one a channel; both read where there is dx
    const float* of_u;
    double* along_u;    // or null
    double* along_one;  // or null
    int64_t rows, channels, groups;
    bool stream;
};

struct ColumnKernels {
    // Rows [begin, end); adds to the sums where they are wanted.
    void (*forward[STORAGES])(const ColumnJob&, int64_t begin, int64_t end, float* squares, float* left_out);
    void (*backward[STORAGES])(const ColumnGradient&, int64_t begin, int64_t end, float* along_u, float* along_one);
};

}  // namespace normkit
