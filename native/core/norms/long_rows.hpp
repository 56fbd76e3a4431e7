// The row norms of few long rows: each row is shared among the threads, part by part, in two passes.
#pragma once
#include "job.hpp"
#include "limits.hpp"

namespace normkit {

// Whether there are rows of more than one part, and too few of them for the threads: `groups` are what rows can be
// shared by.
bool few_long_rows(int64_t groups, int64_t dim, int threads);

// One row after the other; the same numbers as row by row on one thread.
Outcome run_by_parts(const NormKernels& kernels, const NormJob& job, int threads);

// The same backward; the gradients of weight and bias are overwritten, and do not depend on `threads`.
Outcome run_by_parts(const NormKernels& kernels, const NormGradient& job, int threads);

}  // namespace normkit
