// What a row is normalised by: one read of it, sums in double.
#pragma once
#include <math.h>

#include "job.hpp"
#include "moments.hpp"

namespace {

using normkit::COMPRESSED_NORM;
using normkit::LAYER_NORM;
using normkit::NormGradient;
using normkit::NormJob;
using normkit::NormOperation;
using normkit::RMS_NORM;
using normkit::RowScale;

NK_INLINE RowScale centred_scale(double mean, double square, double n, double eps) {
    const double r = 1.0 / sqrt(square / n + eps);
    const float centre = static_cast<float>(mean);
    return {centre, static_cast<float>((mean - static_cast<double>(centre)) * r), static_cast<float>(r)};
}

// From Σ s^2 and, for the compressed norm, Σ s.
template <NormOperation Op>
NK_INLINE RowScale uncentred_scale(double square, double sum, double n, double eps) {
    if (Op == RMS_NORM) return {0.0f, 0.0f, static_cast<float>(1.0 / sqrt(square / n + eps))};
    const double r = 1.0 / sqrt((square + sum * sum) / (n + 1.0) + eps);
    return {0.0f, static_cast<float>(-sum * r), static_cast<float>(r)};
}

template <NormOperation Op, class T>
NK_INLINE RowScale row_scale(const T* s, int64_t n, double eps) {
    const double count = static_cast<double>(n);
    if (Op == LAYER_NORM) {
        const Moments found = row_moments(s, n);
        return centred_scale(found.mean, found.square, count, eps);
    }
    double sum = 0.0, square = 0.0;
    for (int64_t start = 0; start < n; start += LARGEST_BLOCK) {
        const Deviations found = deviations(s + start, smaller(n - start, LARGEST_BLOCK), 0.0f);
        square += horizontal_sum(found.square);
        if (Op == COMPRESSED_NORM) sum += horizontal_sum(found.sum);
    }
    return uncentred_scale<Op>(square, sum, count, eps);
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
    for (int k = 0; k < 4; ++k) scales[k] = uncentred_scale<Op>(square[k], sum[k], count, eps);
}

}  // namespace
