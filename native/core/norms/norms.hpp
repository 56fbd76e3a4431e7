// Layer norm, RMS norm and compressed RMS norm of rows on raw memory, with an optional residual sum.
#pragma once
#include "job.hpp"
#include "limits.hpp"

namespace normkit {

// Runs the job with up to `threads` threads; `job.stream` is ours to choose. The result does not depend on `threads`:
// rows are shared among them, and where there are fewer rows than threads, the parts of long ones.
Outcome run(NormJob job, int threads);

// The same backward. The gradients of weight and bias are overwritten; their last digit may depend on `threads`, for
// the threads' sums are added, in order, at the end.
Outcome run(NormGradient job, int threads);

}  // namespace normkit
