// What a row is normalised by: one read of it, sums in double.
#pragma once
#include "moments.hpp"
#include "shares.hpp"

namespace {

using normkit::COMPRESSED_NORM;
using normkit::GradientSums;
using normkit::LAYER_NORM;
using normkit::LONGEST_PART;
using normkit::NormGradient;
using normkit::NormJob;
using normkit::NormOperation;
using normkit::RMS_NORM;
using normkit::RowScale;
using normkit::RowShare;

template <NormOperation Op, class T>
NK_INLINE RowShare share_of(const T* s, int64_t n) {
    if (Op == LAYER_NORM) {
        const Moments found = row_moments(s, n);
        return {found.mean, found.square};
    }
    double sum = 0.0, square = 0.0;
    for (int64_t start = 0; start < n; start += LARGEST_BLOCK) {
        const Deviations found = deviations(s + start, smaller(n - start, LARGEST_BLOCK), 0.0f);
        square += horizontal_sum(found.square);
        if (Op == COMPRESSED_NORM) sum += horizontal_sum(found.sum);
    }
    return {sum, square};
}

template <NormOperation Op, class T>
NK_INLINE RowScale row_scale(const T* s, int64_t n, double eps) {
    int64_t done = smaller(n, LONGEST_PART);
    RowShare row = share_of<Op>(s, done);
    while (done < n) {
        const int64_t count = smaller(n - done, LONGEST_PART);
        merge(Op, row, done, share_of<Op>(s + done, count), count);
        done += count;
    }
    return scale_of(Op, row, n, eps);
}

// Four rows of at most FIRST_BLOCK elements, one after the other: their sums across lanes are taken together.
template <NormOperation Op, class T>
NK_INLINE void four_scales(const T* s, int64_t n, double eps, RowScale* scales) {
    const double count = static_cast<double>(n);
    if (Op == LAYER_NORM) {
        double mean[4], square[4];
        four_moments(s, n, mean, square);
        for (int k = 0; k < 4; ++k) scales[k] = centred_scale(mean[k], square[k], count, eps);
        return;
    }
    vf sums[4], squares[4];
    for (int k = 0; k < 4; ++k) {
        const Deviations found = deviations(s + k * n, n, 0.0f);
        sums[k] = found.sum;
        squares[k] = found.square;
    }
    const four_doubles square = horizontal_sum(squares[0], squares[1], squares[2], squares[3]);
    four_doubles sum = {};
    if (Op == COMPRESSED_NORM) sum = horizontal_sum(sums[0], sums[1], sums[2], sums[3]);
    for (int k = 0; k < 4; ++k) scales[k] = uncentred_scale(Op, sum[k], square[k], count, eps);
}

}  // namespace
