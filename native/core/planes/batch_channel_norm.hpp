// Batch-channel normalisation: ẋ = γ (x - μ) / sqrt(σ² + ε) + β by channel, then y = w GN(ẋ) + b by group.
// Qiao et al. 2020 (arXiv:1903.10520), section 4.
//
// The moments of each plane of x are enough for those of a group of ẋ, so x is read once for both normalisations.
#pragma once
#include "layer.hpp"

namespace normkit {

class BatchChannelNorm : public Layer {
public:
    BatchChannelNorm(const PlanesJob& job, const PlanesKernels& kernels)
        : Layer(job, kernels, AFFINE, job.batch * job.groups) {}

    void begin() override;
    bool coupled() const override { return job_.backward ? job_.statistics == OF_BATCH : job_.statistics != GIVEN; }
    void fold(int64_t item) override { job_.backward ? fold_gradient(item) : fold_value(item); }
    void couple(int64_t begin, int64_t end) override;
    void finish() override;

protected:
    bool by_plane() const override { return true; }
    void before_sums(int64_t item) override {
        for_planes(item, [&](int64_t plane, int64_t) { curves_[plane].centre = static_cast<float>(mean(plane)); });
    }

private:
    double& channel_mean(int64_t c) const { return channel_moments_[c]; }
    double& channel_variance(int64_t c) const { return channel_moments_[job_.channels + c]; }
    // γ / sqrt(σ² + ε)
    double& gain(int64_t c) const { return channel_gain_[c]; }
    void know_channel(int64_t c) { gain(c) = job_.bn_weight[c] / sqrt(channel_variance(c) + job_.eps); }
    double plane_size() const { return static_cast<double>(job_.size); }
    double count() const { return static_cast<double>(job_.batch * job_.size); }  // elements of a channel
    int64_t group(int64_t item) const { return item % job_.groups; }

    // Moments of a group of ẋ.
    struct Group {
        double mean, reciprocal_deviation;
    };
    Group measure_group(int64_t item);
    // Mean of a plane of ẋ.
    double plane_mean(int64_t plane, int64_t c) const {
        return gain(c) * (mean(plane) - channel_mean(c)) + job_.bn_bias[c];
    }
    void measure_channel(int64_t c);
    void pull_channel(int64_t c);
    void fold_value(int64_t item);
    void fold_gradient(int64_t item);
};

}  // namespace normkit
