// The row norms' kernels for one instruction set (isa.hpp); all but the table has internal linkage.
#include "job.hpp"
#include "isa.hpp"

#include "backward.hpp"

namespace {

using namespace normkit;

template <class T>
void forward(const NormJob& job, int64_t begin, int64_t end, float* scratch) {
    switch (job.operation) {
        case LAYER_NORM: return forward_rows<LAYER_NORM, T>(job, begin, end, scratch);
        case RMS_NORM: return forward_rows<RMS_NORM, T>(job, begin, end, scratch);
        default: return forward_rows<COMPRESSED_NORM, T>(job, begin, end, scratch);
    }
}

template <NormOperation Op, class T>
void backward_of(const NormGradient& job, int64_t begin, int64_t end, float* weight, float* bias) {
    job.weight ? backward_rows<Op, T, true>(job, begin, end, weight, bias)
               : backward_rows<Op, T, false>(job, begin, end, weight, bias);
}

template <class T>
void backward(const NormGradient& job, int64_t begin, int64_t end, float* weight, float* bias) {
    switch (job.operation) {
        case LAYER_NORM: return backward_of<LAYER_NORM, T>(job, begin, end, weight, bias);
        case RMS_NORM: return backward_of<RMS_NORM, T>(job, begin, end, weight, bias);
        default: return backward_of<COMPRESSED_NORM, T>(job, begin, end, weight, bias);
    }
}

}  // namespace

namespace normkit {

extern const NormKernels NORMKIT_FOR(norms);
const NormKernels NORMKIT_FOR(norms) = {
    {forward<float>, forward<bf16>, forward<f16>},
    {backward<float>, backward<bf16>, backward<f16>},
};

}  // namespace normkit
