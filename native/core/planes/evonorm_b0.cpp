#include "evonorm_b0.hpp"

namespace normkit {

void EvoNormB0::begin() {
    if (!job_.backward && job_.statistics == OF_BATCH) return;
    for (int64_t c = 0; c < job_.channels; ++c) {
        if (!job_.backward) {
            channel_mean(c) = 0.0;  // does not enter
            channel_variance(c) = static_cast<double>(job_.running_var[c]);
        }
        know_channel(c);
    }
}

void EvoNormB0::fold_value(int64_t plane) {
    const int64_t c = plane % job_.channels;
    const float batch = static_cast<float>(batch_deviation(c));
    // The maximum of the two denominators must not lose a NaN of this one; an addend keeps it.
    const float shift = batch == batch ? job_.bias[c] : batch;
    curves_[plane] = {job_.weight[c], shift, static_cast<float>(mean(plane)), job_.v[c],
                      static_cast<float>(instance_deviation(plane)), batch, 0, 0};
}

// With i the instance's deviation, e = dy x / d² γ, and L = Σ e over what is left of the maximum:
//   dx = γ dy (1/d - [left] v x / d²) - L (x - mean_plane) / (size i) - (the batch's, see pull_channel)
void EvoNormB0::fold(int64_t plane) {
    if (!job_.backward) return fold_value(plane);
    const int64_t c = plane % job_.channels;
    Curve& curve = curves_[plane];
    const double slope = -job_.weight[c] * sums_[plane].of[2] / (per_item() * instance_deviation(plane));
    curve.slope = static_cast<float>(slope);
    curve.shift = static_cast<float>(slope * (static_cast<double>(curve.centre) - mean(plane)));
}

void EvoNormB0::couple(int64_t begin, int64_t end) {
    if (!job_.backward) {
        for (int64_t c = begin; c < end; ++c) measure_channel(c);
    }
    Layer::couple(begin, end);
    if (job_.backward) {
        for (int64_t c = begin; c < end; ++c) pull_channel(c);
    }
}

void EvoNormB0::measure_channel(int64_t c) {
    const double instances = static_cast<double>(job_.batch);
    const double centre = over_batch(c, [&](int64_t plane) { return mean(plane); }) / instances;
    const double spread = over_batch(c, [&](int64_t plane) {
        const double distance = mean(plane) - centre;
        return square(plane) + per_item() * distance * distance;
    });
    const double variance = spread / count();
    channel_mean(c) = centre;
    channel_variance(c) = variance;
    know_channel(c);
    follow(job_.running_var[c], variance * (count() / (count() - 1.0)), job_.speed);
}

// - R (x - mean_channel) / (count b), R = Σ e over what is right of the maximum, b the batch's deviation.
void EvoNormB0::pull_channel(int64_t c) {
    const double right = over_batch(c, [&](int64_t plane) { return sums_[plane].of[3]; });
    const double slope = -job_.weight[c] * right / (count() * batch_deviation(c));
    for (int64_t plane = c; plane < planes_; plane += job_.channels) {
        Curve& curve = curves_[plane];
        const double distance = static_cast<double>(curve.centre) - channel_mean(c);
        curve.shift = static_cast<float>(curve.shift + slope * distance);
        curve.slope = static_cast<float>(curve.slope + slope);
    }
}

void EvoNormB0::finish() {
    for (int64_t c = 0; c < job_.channels; ++c) {
        PlaneSums all = {};
        for (int64_t plane = c; plane < planes_; plane += job_.channels) {
            for (int k = 0; k < 5; ++k) all.of[k] += sums_[plane].of[k];
        }
        job_.bias_gradient[c] = static_cast<float>(all.of[0]);
        job_.weight_gradient[c] = static_cast<float>(all.of[1]);
        job_.v_gradient[c] = static_cast<float>(-job_.weight[c] * all.of[4]);
    }
}

}  // namespace normkit
