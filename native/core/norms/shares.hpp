// From what the parts of a row add to its scale: no vectors, the same for every instruction set.
#pragma once
#include <math.h>

#include "job.hpp"

namespace {

// Moments are merged by Chan's formula, sums are added. `all` are the `before` entries ahead of the part's `count`.
inline void merge(normkit::NormOperation operation, normkit::RowShare& all, int64_t before,
                  const normkit::RowShare& part, int64_t count) {
    if (operation != normkit::LAYER_NORM) {
        all.first += part.first;
        all.second += part.second;
        return;
    }
    const double share = static_cast<double>(count) / static_cast<double>(before + count);
    const double distance = part.first - all.first;
    all.first += distance * share;
    all.second += part.second + distance * distance * static_cast<double>(before) * share;
}

inline normkit::RowScale centred_scale(double mean, double square, double n, double eps) {
    const double r = 1.0 / sqrt(square / n + eps);
    const float centre = static_cast<float>(mean);
    return {centre, static_cast<float>((mean - static_cast<double>(centre)) * r), static_cast<float>(r)};
}

inline normkit::RowScale uncentred_scale(normkit::NormOperation operation, double sum, double square, double n,
                                         double eps) {
    if (operation == normkit::RMS_NORM) return {0.0f, 0.0f, static_cast<float>(1.0 / sqrt(square / n + eps))};
    const double r = 1.0 / sqrt((square + sum * sum) / (n + 1.0) + eps);
    return {0.0f, static_cast<float>(-sum * r), static_cast<float>(r)};
}

inline normkit::RowScale scale_of(normkit::NormOperation operation, const normkit::RowShare& row, int64_t n,
                                  double eps) {
    const double count = static_cast<double>(n);
    if (operation == normkit::LAYER_NORM) return centred_scale(row.first, row.second, count, eps);
    return uncentred_scale(operation, row.first, row.second, count, eps);
}

}  // namespace
