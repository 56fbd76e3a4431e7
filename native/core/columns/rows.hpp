// What both directions share: a few rows at once, their scales, and stores past the cache.
#pragma once
#include <math.h>

#include "job.hpp"
#include "walks.hpp"

namespace {

using normkit::ColumnGradient;
using normkit::ColumnJob;

// Rows are read twice where their groups have scales: four of them stay in L1 up to this length.
constexpr int64_t LONGEST_BY_FOUR = 2048;

// Channels that share a scale, and how many such groups a row has; one without a scale where there are no groups.
struct Groups {
    int64_t count, width;
    bool scaled;
    template <class Job>
    NK_INLINE explicit Groups(const Job& job)
        : count(job.groups ? job.groups : 1), width(job.channels / count), scaled(job.groups != 0) {}
};

template <class T>
NK_INLINE float group_scale(const T* x, int64_t width, double eps) {
    const double square = blocked_sum(width, [x](int64_t i, int c) {
        const vf v = load_up_to(x + i, c, 0.0f);
        return v * v;
    });
    return static_cast<float>(1.0 / sqrt(square / static_cast<double>(width) + eps));
}

// Whether whole vectors of these rows can be streamed: then every one of them starts at a vector's boundary.
template <class T>
NK_INLINE bool streamable(const T* first, int64_t channels, const Groups& groups) {
    return unaligned_head(first) == 0 && channels % LANES == 0 && groups.width % LANES == 0;
}

NK_INLINE void add_to(float* sum, vf v, int count) { store_up_to(sum, load_up_to(sum, count, 0.0f) + v, count); }

}  // namespace
