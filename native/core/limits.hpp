// Sizes that decide how work is done, and how a call can end; shared by all families.
#pragma once
#include <stdint.h>

namespace normkit {

// What decides between the paths; sizes in elements unless said otherwise.
struct Thresholds {
    int64_t short_row = 512;          // softmax rows up to this stay in L1 (the kernels' own limit too)
    int64_t register_row = 32;        // the same where accuracy is asked for: longer rows are summed in blocks
    int64_t scratch_row = 64 << 10;   // rows up to this fit in L2 as float32
    int64_t split_row = 64 << 10;     // rows from this on are split among threads when rows are too few
    int64_t serial = 32 << 10;        // calls with fewer elements run on one thread
    int64_t piece = 64 << 10;         // pieces of a row under deterministic=true
    int64_t cache_bytes = 0;          // last-level cache to count on; 0: measured
};
Thresholds& thresholds();

// The last-level cache to count on, in bytes.
int64_t cache_bytes();

// Whether so many bytes are more than the half of it: what has been written will hardly be found there again.
bool overflows_cache(int64_t bytes);

// How a call ended, and one sentence about it where it did not end well.
struct Outcome {
    enum Kind { DONE, BAD_JOB, BAD_INDEX, NO_KERNELS, NO_MEMORY } kind;
    const char* message;
};

}  // namespace normkit
