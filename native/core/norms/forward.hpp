// The row norms forward: s = x + residual if there is one, its scale, then y in one pass over what is still in cache.
#pragma once
#include "scales.hpp"

namespace {

// A row's entries, normalised: (s - centre) r - shift in the layer norm, s r in the others.
template <NormOperation Op>
struct Normalise {
    vf centre, shift, r;
    NK_INLINE explicit Normalise(const RowScale& scale)
        : centre(broadcast(scale.centre)), shift(broadcast(-scale.shift)), r(broadcast(scale.r)) {}
    NK_INLINE vf operator()(vf s) const { return Op == LAYER_NORM ? fma(s - centre, r, shift) : s * r; }
};

NK_INLINE vf as_stored(vf v, const float*) { return v; }
template <class H>
NK_INLINE vf as_stored(vf v, const H*) {
    H buffer[LANES];
    narrow(buffer, v);
    return widen(buffer);
}

template <NormOperation Op, class T, bool Weighted, bool Shifted>
NK_INLINE void write_norm(const NormJob& job, const T* s, T* y, const RowScale& scale) {
    const Normalise<Op> normalise(scale);
    const vf offset = broadcast(job.offset);
    write_row(y, job.dim, job.stream, [&](int64_t i, int c) {
        vf v = normalise(load_up_to(s + i, c, 0.0f));
        if (job.round_first) v = as_stored(v, s);
        if (!Weighted) return Shifted ? v + load_up_to(job.bias + i, c, 0.0f) : v;
        vf w = load_up_to(job.weight + i, c, 0.0f);
        if (Op != LAYER_NORM) w += offset;
        return Shifted ? fma(v, w, load_up_to(job.bias + i, c, 0.0f)) : v * w;
    });
}

template <NormOperation Op, class T>
NK_INLINE void write_norm(const NormJob& job, const T* s, T* y, const RowScale& scale) {
    if (job.weight && job.bias) return write_norm<Op, T, true, true>(job, s, y, scale);
    if (job.weight) return write_norm<Op, T, true, false>(job, s, y, scale);
    if (job.bias) return write_norm<Op, T, false, true>(job, s, y, scale);
    write_norm<Op, T, false, false>(job, s, y, scale);
}

template <NormOperation Op, class T>
NK_INLINE void write_norm(const NormJob& job, int64_t row, const T* s, const RowScale& scale) {
    if (job.scales) job.scales[row] = scale;
    write_norm<Op>(job, s, static_cast<T*>(job.y) + row * job.dim, scale);
}

// The row that is normalised: x itself, or its sum with the residual. A sum that is streamed out of the cache, or not
// wanted at all, is kept in scratch until it has been normalised.
template <class T>
NK_INLINE const T* summed_row(const NormJob& job, int64_t row, float* scratch) {
    const T* x = static_cast<const T*>(job.x) + row * job.x_stride;
    if (!job.residual) return x;
    const T* residual = static_cast<const T*>(job.residual) + row * job.dim;
    T* sum = static_cast<T*>(job.sum) + (job.sum ? row * job.dim : 0);
    if (sum && job.stream) {
        T* kept = reinterpret_cast<T*>(scratch);
        write_row(sum, job.dim, true, [&](int64_t i, int c) {
            const vf s = load_up_to(x + i, c, 0.0f) + load_up_to(residual + i, c, 0.0f);
            store_up_to(kept + i, s, c);
            return s;
        });
        return kept;
    }
    T* s = sum ? sum : reinterpret_cast<T*>(scratch);
    write_row(s, job.dim, false, [&](int64_t i, int c) {
        return load_up_to(x + i, c, 0.0f) + load_up_to(residual + i, c, 0.0f);
    });
    return s;
}

template <NormOperation Op, class T>
void forward_rows(const NormJob& job, int64_t begin, int64_t end, float* scratch) {
    int64_t row = begin;
    const bool lie_together = job.residual ? job.sum && !job.stream : job.x_stride == job.dim;
    if (job.dim <= FIRST_BLOCK && lie_together) {
        for (; end - row >= 4; row += 4) {
            const T* s = summed_row<T>(job, row, scratch);
            for (int k = 1; k < 4; ++k) summed_row<T>(job, row + k, scratch);
            RowScale scales[4];
            four_scales<Op>(s, job.dim, job.eps, scales);
            for (int k = 0; k < 4; ++k) write_norm<Op>(job, row + k, s + k * job.dim, scales[k]);
        }
    }
    for (; row < end; ++row) {
        const T* s = summed_row<T>(job, row, scratch);
        write_norm<Op>(job, row, s, row_scale<Op>(s, job.dim, job.eps));
    }
    if (job.stream) stream_fence();
}

template <NormOperation Op, class T>
RowShare measure_part(const NormJob& part) {
    return share_of<Op>(summed_row<T>(part, 0, nullptr), part.dim);
}

template <NormOperation Op, class T>
void write_part(const NormJob& part, const RowScale& scale) {
    const void* s = part.residual ? part.sum : part.x;
    write_norm<Op>(part, static_cast<const T*>(s), static_cast<T*>(part.y), scale);
    if (part.stream) stream_fence();
}

}  // namespace
