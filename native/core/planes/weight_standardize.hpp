// Weight standardisation: ŵ = (w - mean) / σ of each filter, with the three denominators that are in use.
#pragma once
#include "layer.hpp"

namespace normkit {

class WeightStandardize : public Layer {
public:
    WeightStandardize(const PlanesJob& job, const PlanesKernels& kernels) : Layer(job, kernels, AFFINE, job.batch) {}

    void fold(int64_t item) override;

protected:
    void before_sums(int64_t item) override { curves_[item].centre = static_cast<float>(mean(item)); }

private:
    // What Σ (w - mean)^2 is divided by.
    double freedom() const { return per_item() - (job_.denominator == ROOT_OF_BIASED_SUM ? 0.0 : 1.0); }
};

}  // namespace normkit
