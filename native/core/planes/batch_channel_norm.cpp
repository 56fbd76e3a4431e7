#include "batch_channel_norm.hpp"

namespace normkit {

void BatchChannelNorm::begin() {
    if (!job_.backward && job_.statistics != GIVEN) return;
    for (int64_t c = 0; c < job_.channels; ++c) {
        if (!job_.backward) {
            channel_mean(c) = static_cast<double>(job_.running_mean[c]);
            channel_variance(c) = static_cast<double>(job_.running_var[c]);
        }
        know_channel(c);
    }
}

BatchChannelNorm::Group BatchChannelNorm::measure_group(int64_t item) {
    double sum = 0.0, spread = 0.0;
    for_planes(item, [&](int64_t plane, int64_t c) { sum += plane_mean(plane, c); });
    const double centre = sum / static_cast<double>(planes_per_item_);
    for_planes(item, [&](int64_t plane, int64_t c) {
        const double a = gain(c), distance = plane_mean(plane, c) - centre;
        spread += a * a * square(plane) + plane_size() * distance * distance;
    });
    return {centre, 1.0 / sqrt(spread / per_item() + job_.eps)};
}

void BatchChannelNorm::fold_value(int64_t item) {
    const Group found = measure_group(item);
    const double factor = job_.weight[group(item)] * found.reciprocal_deviation;
    for_planes(item, [&](int64_t plane, int64_t c) {
        const float centre = static_cast<float>(mean(plane));
        const double scale = factor * gain(c);
        const double shift = factor * (plane_mean(plane, c) - found.mean) +
                             scale * (static_cast<double>(centre) - mean(plane)) + job_.bias[group(item)];
        curves_[plane] = {static_cast<float>(scale), static_cast<float>(shift), centre, 0, 0, 0, 0, 0};
    });
}

// With a = γ / sqrt(σ² + ε), p the mean of a plane of ẋ less the group's, n elements to a group, S = Σ dy and
// U = Σ dy (ẋ - its group's mean) of each plane:
//   dẋ = r (w dy - w Σ S / n - (ẋ - mean) w r² Σ U / n),  dx = a dẋ  (less what the batch's statistics take),
//   dw = Σ r U,  db = Σ S,  dγ = Σ dẋ (x - μ) / sqrt(σ² + ε),  dβ = Σ dẋ
// The sums of dẋ follow from those of dy. Left in `sums`: of dẋ, of dẋ (x - μ), r Σ U and Σ S of the group.
void BatchChannelNorm::fold_gradient(int64_t item) {
    const Group found = measure_group(item);
    const double r = found.reciprocal_deviation, w = job_.weight[group(item)];
    double along_one = 0.0, along_x = 0.0;
    for_planes(item, [&](int64_t plane, int64_t c) {
        double* sums = sums_[plane].of;
        sums[1] += sums[0] * (static_cast<double>(curves_[plane].centre) - mean(plane));
        along_one += sums[0];
        along_x += gain(c) * sums[1] + (plane_mean(plane, c) - found.mean) * sums[0];
    });
    const double c1 = w * along_one / per_item(), c2 = w * r * r * along_x / per_item();
    for_planes(item, [&](int64_t plane, int64_t c) {
        const double a = gain(c), p = plane_mean(plane, c) - found.mean;
        double* sums = sums_[plane].of;
        const double pulled = r * (w * sums[0] - plane_size() * (c1 + p * c2));
        const double pulled_x = r * (w * sums[1] - c2 * a * square(plane)) + (mean(plane) - channel_mean(c)) * pulled;
        Curve& curve = curves_[plane];
        const double slope = -a * a * r * c2;
        curve.scale = static_cast<float>(a * r * w);
        curve.slope = static_cast<float>(slope);
        curve.shift = static_cast<float>(slope * (static_cast<double>(curve.centre) - mean(plane)) -
                                         a * r * (c1 + c2 * p));
        sums[0] = pulled;
        sums[1] = pulled_x;
        sums[2] = r * along_x;
        sums[3] = along_one;
    });
}

void BatchChannelNorm::couple(int64_t begin, int64_t end) {
    const int64_t first = begin * planes_per_item_, last = end * planes_per_item_;
    if (!job_.backward) {
        for (int64_t c = first; c < last; ++c) measure_channel(c);
    }
    Layer::couple(begin, end);
    if (job_.backward) {
        for (int64_t c = first; c < last; ++c) pull_channel(c);
    }
}

void BatchChannelNorm::measure_channel(int64_t c) {
    const double centre = over_batch(c, [&](int64_t plane) { return mean(plane); }) / static_cast<double>(job_.batch);
    const double variance = over_batch(c, [&](int64_t plane) {
        const double distance = mean(plane) - centre;
        return square(plane) + plane_size() * distance * distance;
    }) / count();
    float& running_mean = job_.running_mean[c];
    float& running_var = job_.running_var[c];
    if (job_.statistics == OF_BATCH) {
        follow(running_var, variance * (count() / (count() - 1.0)), job_.speed);
        follow(running_mean, centre, job_.speed);
        channel_mean(c) = centre;
        channel_variance(c) = variance;
    } else {  // the deviation is the one from the old estimate of the mean
        const double distance = centre - running_mean;
        follow(running_var, variance + distance * distance, job_.speed);
        follow(running_mean, centre, job_.speed);
        channel_mean(c) = running_mean;
        channel_variance(c) = running_var;
    }
    know_channel(c);
}

// Through the batch's own statistics: dx = a (dẋ - Σ dẋ / N - (x - μ) Σ dẋ (x - μ) / (N (σ² + ε))), N = count().
void BatchChannelNorm::pull_channel(int64_t c) {
    const double pulled = over_batch(c, [&](int64_t plane) { return sums_[plane].of[0]; });
    const double pulled_x = over_batch(c, [&](int64_t plane) { return sums_[plane].of[1]; });
    const double slope = -gain(c) * pulled_x / (count() * (channel_variance(c) + job_.eps));
    const double shift = -gain(c) * pulled / count();
    for (int64_t plane = c; plane < planes_; plane += job_.channels) {
        Curve& curve = curves_[plane];
        const double distance = static_cast<double>(curve.centre) - channel_mean(c);
        curve.shift = static_cast<float>(curve.shift + shift + slope * distance);
        curve.slope = static_cast<float>(curve.slope + slope);
    }
}

void BatchChannelNorm::finish() {
    for (int64_t c = 0; c < job_.channels; ++c) {
        const double deviation = sqrt(channel_variance(c) + job_.eps);
        job_.bn_bias_gradient[c] =
            static_cast<float>(over_batch(c, [&](int64_t plane) { return sums_[plane].of[0]; }));
        job_.bn_weight_gradient[c] =
            static_cast<float>(over_batch(c, [&](int64_t plane) { return sums_[plane].of[1]; }) / deviation);
    }
    for (int64_t g = 0; g < job_.groups; ++g) {
        double along_x = 0.0, along_one = 0.0;
        for (int64_t item = g; item < items_; item += job_.groups) {
            const double* sums = sums_[item * planes_per_item_].of;
            along_x += sums[2];
            along_one += sums[3];
        }
        job_.weight_gradient[g] = static_cast<float>(along_x);
        job_.bias_gradient[g] = static_cast<float>(along_one);
    }
}

}  // namespace normkit
