// Norms of channels over rows on raw memory, without a mean: power norm, unified norm.
#pragma once
#include "job.hpp"
#include "limits.hpp"

namespace normkit {

// Runs the job with up to `threads` threads; `job.stream` is ours to choose. Only the sums may depend on `threads`, in
// their last digits.
Outcome run(ColumnJob job, int threads);
Outcome run(ColumnGradient job, int threads);

}  // namespace normkit
