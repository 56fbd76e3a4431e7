// Sums over rows, at most two for each column: what the gradients of weights and the statistics of channels are.
#pragma once
#include <stdint.h>

#include "limits.hpp"

namespace normkit {

constexpr int64_t ROWS_TOGETHER = 4;  // rows that the kernels take at once

// Threads worth having for so many rows, at most `wanted`.
int threads_for_rows(int64_t rows, int64_t dim, int wanted);

// Adds rows [begin, end) to the sums; null where a sum is not wanted.
typedef void (*AddRows)(const void* job, int64_t begin, int64_t end, float* first, float* second);

// first[i] and second[i] (or null) are overwritten by the sums over all rows. They are taken in float32 over 256 rows and
// in double beyond; those of the threads are added in order, so that only their number can show, in the last digit.
template <class Number>
Outcome sum_rows(const void* job, AddRows add, int64_t rows, int64_t dim, int threads, Number* first, Number* second);

}  // namespace normkit
