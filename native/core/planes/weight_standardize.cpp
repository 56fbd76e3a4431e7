#include "weight_standardize.hpp"

namespace normkit {

// A variance below this counts as this and gives no gradient: the slope of the root at 0 is infinite.
constexpr double LEAST_VARIANCE = 0x1p-126;

// With σ a function of Q = Σ (w - mean)^2, S = Σ dy and U = Σ dy (w - mean):
//   dw = (dy - S / n) / σ - (w - mean) 2 U σ'(Q) / σ²,   σ' = 1 / (2 f root), f the divisor of Q
void WeightStandardize::fold(int64_t item) {
    double variance = square(item) / freedom();
    bool flat = false;
    double root, sigma;
    if (job_.denominator == ROOT_PLUS_EPS) {
        flat = variance < LEAST_VARIANCE;
        root = sqrt(flat ? LEAST_VARIANCE : variance);
        sigma = root + job_.eps;
    } else {
        sigma = root = sqrt(variance + job_.eps);
    }
    const float centre = static_cast<float>(mean(item)), scale = static_cast<float>(1.0 / sigma);
    const double rest = static_cast<double>(centre) - mean(item);
    Curve& curve = curves_[item];
    if (!job_.backward) {
        curve = {scale, static_cast<float>(rest / sigma), centre, 0, 0, 0, 0, 0};
        return;
    }
    const double* sums = sums_[item].of;
    const double along_w = sums[1] + rest * sums[0];
    const double slope = flat ? 0.0 : -along_w / (sigma * sigma * freedom() * root);
    const double shift = slope * rest - sums[0] / (per_item() * sigma);
    curve = {scale, static_cast<float>(shift), centre, 0, 0, 0, static_cast<float>(slope), 0};
}

}  // namespace normkit
