// The softmax family on raw memory: chooses how rows are walked and by how many threads, and runs the kernels.
#pragma once
#include "job.hpp"
#include "limits.hpp"

namespace normkit {

// Runs the job with up to `threads` threads. With `deterministic` the result does not depend on their number.
// `job.path` AUTOMATIC leaves the choice to us; `job.stream` is always ours.
Outcome run(Job job, int threads, bool deterministic);

// The path that `run` would take for the job.
Path choose_path(const Job& job);

}  // namespace normkit
