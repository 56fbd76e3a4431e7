#include "evonorm_s0.hpp"

namespace normkit {

// With U = Σ dy x σ of each plane, W = Σ dy x² σ (1 - σ), n elements to a group and r = 1 / sqrt(s² + ε):
//   dx = γ r dy (x σ)' - (x - μ) r³ Σ γ U / n,  dγ = Σ r U,  dβ = Σ dy,  dv = Σ γ r W
void EvoNormS0::fold(int64_t item) {
    const double r = 1.0 / sqrt(square(item) / per_item() + job_.eps);
    const float centre = static_cast<float>(mean(item));
    double slope = 0.0;
    if (job_.backward) {
        for_planes(item, [&](int64_t plane, int64_t c) {
            double* sums = sums_[plane].of;
            const double gamma = job_.weight[c];
            slope -= gamma * sums[1];
            sums[1] *= r;
            sums[2] *= gamma * r;
        });
        slope *= r * r * r / per_item();
    }
    const float pull_shift = static_cast<float>(slope * (static_cast<double>(centre) - mean(item)));
    for_planes(item, [&](int64_t plane, int64_t c) {
        const float scale = static_cast<float>(r * job_.weight[c]);
        const float shift = job_.backward ? pull_shift : job_.bias[c];
        curves_[plane] = {scale, shift, centre, job_.v[c], 0, 0, static_cast<float>(slope), 0};
    });
}

void EvoNormS0::finish() {
    for (int64_t c = 0; c < job_.channels; ++c) {
        PlaneSums all = {};
        for (int64_t plane = c; plane < planes_; plane += job_.channels) {
            for (int k = 0; k < 3; ++k) all.of[k] += sums_[plane].of[k];
        }
        job_.bias_gradient[c] = static_cast<float>(all.of[0]);
        job_.weight_gradient[c] = static_cast<float>(all.of[1]);
        job_.v_gradient[c] = static_cast<float>(all.of[2]);
    }
}

}  // namespace normkit
