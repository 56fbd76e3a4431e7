// Mean and sum of squared deviations of a row that is read from memory once.
#pragma once
#include "walks.hpp"

namespace {

constexpr int64_t MOMENTS_BLOCK = 4096;  // elements that stay in L1 between the two walks over them

struct Moments {
    double mean, square;
};

// The mean is subtracted before squaring: no cancellation, whatever the offset of the data. It is rounded to float32
// for that, which the last term takes out again.
template <class T>
NK_INLINE Moments block_moments(const T* x, int64_t n) {
    const double mean = blocked_sum(n, [x](int64_t i, int c) { return load_up_to(x + i, c, 0.0f); }) /
                        static_cast<double>(n);
    const float centre = static_cast<float>(mean);
    const vf centres = broadcast(centre);
    const double square = blocked_sum(n, [=](int64_t i, int c) {
        const vf deviation = load_up_to(x + i, c, centre) - centres;
        return deviation * deviation;
    });
    const double rest = mean - static_cast<double>(centre);
    return {mean, square - static_cast<double>(n) * rest * rest};
}

// Blocks are merged by Chan's formula.
template <class T>
NK_INLINE Moments row_moments(const T* x, int64_t n) {
    Moments all = block_moments(x, smaller(n, MOMENTS_BLOCK));
    for (int64_t done = MOMENTS_BLOCK; done < n; done += MOMENTS_BLOCK) {
        const int64_t count = smaller(n - done, MOMENTS_BLOCK);
        const Moments block = block_moments(x + done, count);
        const double share = static_cast<double>(count) / static_cast<double>(done + count);
        const double distance = block.mean - all.mean;
        all.mean += distance * share;
        all.square += block.square + distance * distance * static_cast<double>(done) * share;
    }
    if (all.square < 0.0) all.square = 0.0;  // the rounding of `rest`
    return all;
}

}  // namespace
