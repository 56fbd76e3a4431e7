// The softmax family on raw memory: chooses how rows are walked and by how many threads, and runs the kernels.
#pragma once
#include "kernels.hpp"

namespace normkit {

// What decides between the paths; sizes in elements unless said otherwise.
struct Thresholds {
    int64_t short_row = 512;          // rows up to this stay in L1 (the kernels' own limit too)
    int64_t register_row = 32;        // the same where accuracy is asked for: longer rows are summed in blocks
    int64_t scratch_row = 64 << 10;   // rows up to this fit in L2 as float32
    int64_t split_row = 64 << 10;     // rows from this on are split among threads when rows are too few
    int64_t serial = 32 << 10;        // calls with fewer elements run on one thread
    int64_t piece = 64 << 10;         // pieces of a row under deterministic=true
    int64_t cache_bytes = 0;          // last-level cache to count on; 0: measured
};
Thresholds& thresholds();

// How a call ended, and one sentence about it where it did not end well.
struct Outcome {
    enum Kind { DONE, BAD_JOB, NO_KERNELS, NO_MEMORY } kind;
    const char* message;
};

// Runs the job with up to `threads` threads. With `deterministic` the result does not depend on their number.
// `job.path` AUTOMATIC leaves the choice to us; `job.stream` is always ours.
Outcome run(Job job, int threads, bool deterministic);

// The path that `run` would take for the job.
Path choose_path(const Job& job);

}  // namespace normkit
