// Cross-entropy on raw memory: reductions, threads and the check of targets around the kernels.
#pragma once
#include "job.hpp"
#include "limits.hpp"

namespace normkit {

enum Reduction : int { NONE = 0, MEAN = 1, SUM = 2, REDUCTIONS };

// Writes the rows' losses and, unless `reduction` is NONE, what they come to into `reduced`. The result does not
// depend on the number of threads. BAD_INDEX: a target is neither a class nor `ignore_index`.
Outcome cross_entropy(CrossEntropyJob job, Reduction reduction, float* reduced, int threads);

// The same and dx as well, for a loss whose own gradient is 1. Whether that pays: where dx stays in cache.
Outcome cross_entropy_with_gradient(CrossEntropyJob job, Reduction reduction, float* reduced, int threads);
bool gradient_fits_cache(const CrossEntropyJob& job);

// Writes dx; the targets must be those of the forward call.
Outcome cross_entropy_backward(CrossEntropyJob job, Reduction reduction, int threads);

}  // namespace normkit
