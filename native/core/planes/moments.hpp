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

// Sum of term(i, count) over a row of at most BLOCK elements, lane by lane.
template <class Term>
NK_INLINE vf lane_sums(int64_t n, Term term) {
    vf s0 = {}, s1 = {};
    int64_t i = 0;
    for (; n - i >= 2 * LANES; i += 2 * LANES) {
        s0 += term(i, LANES);
        s1 += term(i + LANES, LANES);
    }
    for (; i < n; i += LANES) s0 += term(i, part(n - i));
    return s0 + s1;
}

// Four rows of at most BLOCK elements, one after the other: their sums across lanes are taken together.
template <class T>
NK_INLINE void four_moments(const T* x, int64_t n, double* mean, double* square) {
    vf sums[4];
    float centre[4];
    for (int k = 0; k < 4; ++k) {
        const T* row = x + k * n;
        sums[k] = lane_sums(n, [row](int64_t i, int c) { return load_up_to(row + i, c, 0.0f); });
    }
    const double count = static_cast<double>(n);
    const four_doubles means = horizontal_sum(sums[0], sums[1], sums[2], sums[3]) / count;
    for (int k = 0; k < 4; ++k) {
        const T* row = x + k * n;
        centre[k] = static_cast<float>(means[k]);
        const float fill = centre[k];
        const vf centres = broadcast(fill);
        sums[k] = lane_sums(n, [=](int64_t i, int c) {
            const vf deviation = load_up_to(row + i, c, fill) - centres;
            return deviation * deviation;
        });
    }
    const four_doubles squares = horizontal_sum(sums[0], sums[1], sums[2], sums[3]);
    for (int k = 0; k < 4; ++k) {
        const double rest = means[k] - static_cast<double>(centre[k]), found = squares[k] - count * rest * rest;
        mean[k] = means[k];
        square[k] = found < 0.0 ? 0.0 : found;
    }
}

}  // namespace
