// Where a job's rows start, typed.
#pragma once
#include "job.hpp"
#include "pair.hpp"
#include "storage.hpp"

namespace {

using normkit::Job;
using normkit::Partial;
using normkit::Segment;

template <class T>
NK_INLINE const T* row_a(const Job& job, int64_t row) {
    return static_cast<const T*>(job.a) + row * job.a_stride;
}
template <class T>
NK_INLINE const T* row_b(const Job& job, int64_t row) {
    return static_cast<const T*>(job.b) + row * job.b_stride;
}
template <class T>
NK_INLINE T* row_out(const Job& job, int64_t row) {
    return static_cast<T*>(job.out) + row * job.out_stride;
}

NK_INLINE void store_pair(const Job& job, int64_t row, FloatPair pair) {
    static_cast<float*>(job.out)[row] = pair.mantissa;
    static_cast<float*>(job.out)[job.outer + row] = pair.exponent;
}

// What the softmax of a row is multiplied by: 1 forward, the row's dL in the backward pass of logsumexp.
template <class T>
NK_INLINE float row_factor(const Job& job, int64_t row) {
    return job.operation == normkit::LOGSUMEXP_BACKWARD ? load_one(static_cast<const T*>(job.b) + row) : 1.0f;
}

}  // namespace
