// Group normalisation: y = (x - μ) / sqrt(σ² + ε) γ_c + β_c, statistics of a group of channels of one sample.
#pragma once
#include "layer.hpp"

namespace normkit {

class GroupNorm : public Layer {
public:
    GroupNorm(const PlanesJob& job, const PlanesKernels& kernels)
        : Layer(job, kernels, AFFINE, job.batch * job.groups) {}

    void fold(int64_t item) override { job_.backward ? fold_gradient(item) : fold_value(item); }
    void finish() override;

protected:
    void before_sums(int64_t item) override {
        for_planes(item, [&](int64_t plane, int64_t) { curves_[plane].centre = static_cast<float>(mean(item)); });
    }

private:
    double reciprocal_deviation(int64_t item) const { return 1.0 / sqrt(square(item) / per_item() + job_.eps); }
    void fold_value(int64_t item);
    void fold_gradient(int64_t item);
};

}  // namespace normkit
