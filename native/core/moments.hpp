// Mean and sum of squared deviations of a row that is read from memory once.
//
// What is squared is x less a centre near the mean: no cancellation, whatever the offset of the data. The centre need
// not be the mean; Σ (x - centre), taken along, corrects both moments. For the first block it is a mean in float32, of
// data then read again from L1; for the others the mean so far. A block whose own mean is far from that loses digits
// of its own deviations only where the distance between the two means, which counts too, is larger still.
#pragma once
#include "walks.hpp"

namespace {

constexpr int64_t FIRST_BLOCK = 512;      // read twice
constexpr int64_t LARGEST_BLOCK = 4096;   // elements added in float32, side by side in 4 vectors

struct Moments {
    double mean, square;
};

// Sum of term(i, count) over a row of at most FIRST_BLOCK elements, lane by lane.
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

struct Deviations {
    vf sum, square;
    NK_INLINE void add(vf deviation) {
        sum += deviation;
        square = fma(deviation, deviation, square);
    }
};

// Σ (x - centre) and its squares, lane by lane.
template <class T>
NK_INLINE Deviations deviations(const T* x, int64_t n, float centre) {
    const vf centres = broadcast(centre);
    Deviations a = {}, b = {}, c = {}, d = {};
    int64_t i = 0;
    for (; n - i >= CHUNK; i += CHUNK) {
        a.add(load(x + i) - centres);
        b.add(load(x + i + LANES) - centres);
        c.add(load(x + i + 2 * LANES) - centres);
        d.add(load(x + i + 3 * LANES) - centres);
    }
    for (; i < n; i += LANES) a.add(load_up_to(x + i, part(n - i), centre) - centres);
    return {(a.sum + b.sum) + (c.sum + d.sum), (a.square + b.square) + (c.square + d.square)};
}

// The moments that follow from Σ (x - centre) and Σ (x - centre)^2.
NK_INLINE Moments corrected(float centre, double sum, double square, double count) {
    const double rest = sum / count, found = square - sum * rest;
    return {static_cast<double>(centre) + rest, found < 0.0 ? 0.0 : found};
}

template <class T>
NK_INLINE Moments block_moments(const T* x, int64_t n, float centre) {
    const Deviations found = deviations(x, n, centre);
    return corrected(centre, horizontal_sum(found.sum), horizontal_sum(found.square), static_cast<double>(n));
}

// Blocks are merged by Chan's formula.
template <class T>
NK_INLINE Moments row_moments(const T* x, int64_t n) {
    int64_t done = smaller(n, FIRST_BLOCK);
    const vf sums = lane_sums(done, [x](int64_t i, int c) { return load_up_to(x + i, c, 0.0f); });
    Moments all = block_moments(x, done, static_cast<float>(horizontal_sum(sums) / static_cast<double>(done)));
    while (done < n) {
        const int64_t count = smaller(n - done, smaller(done, LARGEST_BLOCK));
        const Moments block = block_moments(x + done, count, static_cast<float>(all.mean));
        const double share = static_cast<double>(count) / static_cast<double>(done + count);
        const double distance = block.mean - all.mean;
        all.mean += distance * share;
        all.square += block.square + distance * distance * static_cast<double>(done) * share;
        done += count;
    }
    return all;
}

// Four rows of at most FIRST_BLOCK elements, one after the other: their sums across lanes are taken together.
template <class T>
NK_INLINE void four_moments(const T* x, int64_t n, double* mean, double* square) {
    const double count = static_cast<double>(n);
    vf sums[4], squares[4];
    float centre[4];
    for (int k = 0; k < 4; ++k) {
        const T* row = x + k * n;
        sums[k] = lane_sums(n, [row](int64_t i, int c) { return load_up_to(row + i, c, 0.0f); });
    }
    const four_doubles means = horizontal_sum(sums[0], sums[1], sums[2], sums[3]) / count;
    for (int k = 0; k < 4; ++k) {
        centre[k] = static_cast<float>(means[k]);
        const Deviations found = deviations(x + k * n, n, centre[k]);
        sums[k] = found.sum;
        squares[k] = found.square;
    }
    const four_doubles along_one = horizontal_sum(sums[0], sums[1], sums[2], sums[3]);
    const four_doubles along_square = horizontal_sum(squares[0], squares[1], squares[2], squares[3]);
    for (int k = 0; k < 4; ++k) {
        const Moments found = corrected(centre[k], along_one[k], along_square[k], count);
        mean[k] = found.mean;
        square[k] = found.square;
    }
}

}  // namespace
