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

template <class T>
RowShare measure(const NormJob& part) {
    switch (part.operation) {
        case LAYER_NORM: return measure_part<LAYER_NORM, T>(part);
        case RMS_NORM: return measure_part<RMS_NORM, T>(part);
        default: return measure_part<COMPRESSED_NORM, T>(part);
    }
}

template <class T>
void write(const NormJob& part, const RowScale& scale) {
    switch (part.operation) {
        case LAYER_NORM: return write_part<LAYER_NORM, T>(part, scale);
        case RMS_NORM: return write_part<RMS_NORM, T>(part, scale);
        default: return write_part<COMPRESSED_NORM, T>(part, scale);
    }
}

template <NormOperation Op, class T>
GradientSums gradient_sums_of(const NormGradient& part) {
    return part.weight ? gradient_sums_of_part<Op, T, true>(part) : gradient_sums_of_part<Op, T, false>(part);
}

template <class T>
GradientSums gradient_sums(const NormGradient& part) {
    switch (part.operation) {
        case LAYER_NORM: return gradient_sums_of<LAYER_NORM, T>(part);
        case RMS_NORM: return gradient_sums_of<RMS_NORM, T>(part);
        default: return gradient_sums_of<COMPRESSED_NORM, T>(part);
    }
}

template <NormOperation Op, class T>
void write_gradient_of(const NormGradient& part, const GradientSums& row, int64_t dim, float* weight, float* bias) {
    part.weight ? write_gradient_of_part<Op, T, true>(part, row, dim, weight, bias)
                : write_gradient_of_part<Op, T, false>(part, row, dim, weight, bias);
}

template <class T>
void write_gradient(const NormGradient& part, const GradientSums& row, int64_t dim, float* weight, float* bias) {
    switch (part.operation) {
        case LAYER_NORM: return write_gradient_of<LAYER_NORM, T>(part, row, dim, weight, bias);
        case RMS_NORM: return write_gradient_of<RMS_NORM, T>(part, row, dim, weight, bias);
        default: return write_gradient_of<COMPRESSED_NORM, T>(part, row, dim, weight, bias);
    }
}

}  // namespace

namespace normkit {

extern const NormKernels NORMKIT_FOR(norms);
const NormKernels NORMKIT_FOR(norms) = {
    {forward<float>, forward<bf16>, forward<f16>},
    {backward<float>, backward<bf16>, backward<f16>},
    {measure<float>, measure<bf16>, measure<f16>},
    {write<float>, write<bf16>, write<f16>},
    {gradient_sums<float>, gradient_sums<bf16>, gradient_sums<f16>},
    {write_gradient<float>, write_gradient<bf16>, write_gradient<f16>},
};

}  // namespace normkit
