#include "group_norm.hpp"

namespace normkit {

void GroupNorm::fold_value(int64_t item) {
    const double r = reciprocal_deviation(item);
    const float centre = static_cast<float>(mean(item));
    const double rest = static_cast<double>(centre) - mean(item);
    for_planes(item, [&](int64_t plane, int64_t c) {
        const double scale = r * parameter(job_.weight, c, 1.0);
        const double shift = scale * rest + parameter(job_.bias, c, 0.0);
        curves_[plane] = {static_cast<float>(scale), static_cast<float>(shift), centre, 0, 0, 0, 0, 0};
    });
}

// With S = Σ dy and U = Σ dy (x - μ) of each plane, n elements to a group and r = 1 / sqrt(σ² + ε):
//   dx = r (γ dy - Σ γ S / n - (x - μ) r² Σ γ U / n),  dγ = Σ r U,  dβ = Σ S
void GroupNorm::fold_gradient(int64_t item) {
    const double r = reciprocal_deviation(item);
    const float centre = static_cast<float>(mean(item));
    const double rest = static_cast<double>(centre) - mean(item);
    double along_one = 0.0, along_x = 0.0;
    for_planes(item, [&](int64_t plane, int64_t c) {
        double* sums = sums_[plane].of;
        sums[1] += rest * sums[0];
        const double gamma = parameter(job_.weight, c, 1.0);
        along_one += gamma * sums[0];
        along_x += gamma * sums[1];
        sums[1] *= r;
    });
    const double slope = -r * r * r * along_x / per_item();
    const double shift = slope * rest - r * along_one / per_item();
    for_planes(item, [&](int64_t plane, int64_t c) {
        const double scale = r * parameter(job_.weight, c, 1.0);
        curves_[plane] = {static_cast<float>(scale), static_cast<float>(shift), centre, 0, 0, 0,
                          static_cast<float>(slope), 0};
    });
}

void GroupNorm::finish() {
    for (int64_t c = 0; c < job_.channels; ++c) {
        if (job_.weight_gradient) {
            job_.weight_gradient[c] =
                static_cast<float>(over_batch(c, [&](int64_t plane) { return sums_[plane].of[1]; }));
        }
        if (job_.bias_gradient) {
            job_.bias_gradient[c] =
                static_cast<float>(over_batch(c, [&](int64_t plane) { return sums_[plane].of[0]; }));
        }
    }
}

}  // namespace normkit
