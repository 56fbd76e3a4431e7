// What the driver of the softmax family and its kernels agree on. Plain data: safe to include everywhere.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "table.hpp"

namespace normkit {

enum Operation : int {
    SOFTMAX = 0,
    LOG_SOFTMAX = 1,
    LOGSUMEXP = 2,
    SOFTMAX_BACKWARD = 3,
    LOG_SOFTMAX_BACKWARD = 4,
    LOGSUMEXP_BACKWARD = 5,
    SOFTMAX_PAIR = 6,
    OPERATIONS
};

// How a row is walked. `AUTOMATIC` lets the driver choose; the last three are the published algorithms.
enum Path : int {
    AUTOMATIC = 0,
    SHORT_ROW = 1,            // maximum, exponentials, multiply: all in L1
    RELOAD = 2,               // exponentials into the output, then multiply there
    SCRATCH = 3,              // exponentials into a row of L2 scratch, then multiply into the output
    TWO_PASS = 4,             // sum, then compute the exponentials again
    TWO_PASS_PAPER = 5,       // (mantissa, exponent) pairs, Dukhan & Ablavatski 2020, algorithm 3
    THREE_PASS_RELOAD = 6,    // the same paper, algorithm 2
    THREE_PASS_RECOMPUTE = 7, // the same paper, algorithm 1
    PATHS
};

// One call. Rows are `dim` long; `inner` > 1 means that neighbours along a row lie `inner` elements apart and
// the tensors are dense (outer, dim, inner). With `inner` == 1 rows start `*_stride` elements apart.
//   operation             a      b      out
//   softmax, log_softmax  x      -      y          (outer, dim, inner)
//   logsumexp             x      -      L          (outer, inner), dense
//   softmax_pair          x      -      e^L        float32 (2, outer): mantissas, then exponents; inner == 1
//   softmax_backward      y      dy     dx
//   log_softmax_backward  log y  dy     dx
//   logsumexp_backward    x      dL     dx         dL: (outer, inner), dense
struct Job {
    const void* a;
    const void* b;
    void* out;
    int64_t outer, dim, inner;
    int64_t a_stride, b_stride, out_stride;
    Operation operation;
    Storage storage;
    Path path;
    bool high;         // the polynomial of degree 6
    bool masked_zero;  // a row of -inf gives 0 (log_softmax: -inf) instead of NaN, and a zero gradient
    bool stream;       // non-temporal stores: the output will not be found in cache anyway
};

// Part of a row: sum of e^x 2^-reference (forward) or the plain sum that a backward pass needs.
// `segments` says which reference the exponentials were stored under: ascending in both members.
struct Segment {
    int64_t start;
    float reference;
};
struct Partial {
    static constexpr int CAPACITY = 12;
    double sum;
    float reference;
    int live;
    int64_t dead_end;  // elements before this are 0 in the result whatever follows
    Segment segments[CAPACITY];
};

struct SoftmaxKernels {
    // Whole rows [begin, end); scratch: room for 2 `dim` floats where the path is SCRATCH.
    void (*rows[STORAGES])(const Job&, int64_t begin, int64_t end, float* scratch);
    // Column groups [begin, end) of the outer x ceil(inner / column_group) that a job with inner > 1 has.
    void (*columns[STORAGES])(const Job&, int64_t begin, int64_t end);
    int64_t column_group;
    // One row split in pieces: sums of [start, start + count), then, from the merged sum, the piece's output.
    void (*reduce_piece[STORAGES])(const Job&, int64_t row, int64_t start, int64_t count, Partial&);
    void (*finish_piece[STORAGES])(const Job&, int64_t row, int64_t start, int64_t count, const Partial& own,
                                   const Partial& whole);
    // What needs the whole merged row at once; true when the row was written and no piece is to be finished.
    bool (*finish_row[STORAGES])(const Job&, int64_t row, const Partial& whole);
};

}  // namespace normkit
