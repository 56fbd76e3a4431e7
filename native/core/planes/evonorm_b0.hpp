// EvoNorm-B0: y = x / max(sqrt(s²_batch + ε), v x + sqrt(s²_instance + ε)) γ + β.
// Liu et al. 2020 (arXiv:2004.02967), table 3.
#pragma once
#include "layer.hpp"

namespace normkit {

class EvoNormB0 : public Layer {
public:
    EvoNormB0(const PlanesJob& job, const PlanesKernels& kernels)
        : Layer(job, kernels, LARGER, job.batch * job.channels) {}

    void begin() override;
    bool coupled() const override { return job_.statistics == OF_BATCH; }
    void fold(int64_t plane) override;
    void couple(int64_t begin, int64_t end) override;
    void finish() override;

protected:
    void before_sums(int64_t plane) override { fold_value(plane); }

private:
    double instance_deviation(int64_t plane) const { return sqrt(square(plane) / per_item() + job_.eps); }
    double& batch_deviation(int64_t c) const { return channel_gain_[c]; }
    double& channel_mean(int64_t c) const { return channel_moments_[c]; }
    double& channel_variance(int64_t c) const { return channel_moments_[job_.channels + c]; }
    void know_channel(int64_t c) { batch_deviation(c) = sqrt(channel_variance(c) + job_.eps); }
    double count() const { return static_cast<double>(job_.batch * job_.size); }  // elements of a channel
    void fold_value(int64_t plane);
    void measure_channel(int64_t c);
    void pull_channel(int64_t c);
};

}  // namespace normkit
