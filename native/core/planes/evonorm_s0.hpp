// EvoNorm-S0: y = x σ(v x) / sqrt(s² + ε) γ + β, s² the variance of a group of channels of one sample.
// Liu et al. 2020 (arXiv:2004.02967), table 3.
#pragma once
#include "layer.hpp"

namespace normkit {

class EvoNormS0 : public Layer {
public:
    EvoNormS0(const PlanesJob& job, const PlanesKernels& kernels)
        : Layer(job, kernels, SWISH, job.batch * job.groups) {}

    void fold(int64_t item) override;
    void finish() override;

protected:
    void before_sums(int64_t item) override {
        for_planes(item, [&](int64_t plane, int64_t c) { curves_[plane].v = job_.v[c]; });
    }

};

}  // namespace normkit
