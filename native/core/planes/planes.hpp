// The channel norms on raw memory: statistics, coefficients, and how the work is shared.
#pragma once
#include "job.hpp"
#include "limits.hpp"

namespace normkit {

// Runs the job with up to `threads` threads; the result does not depend on their number.
Outcome run(const PlanesJob& job, int threads);

}  // namespace normkit
