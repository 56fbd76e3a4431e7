// dx and the sums of dy u and dy, in one read of x and dy (two, the second from L1, where groups have scales).
#pragma once
#include "rows.hpp"

namespace {

// The gradient that reaches u: of_dy dy - of_u u.
template <class T>
struct Upstream {
    const T *x, *dy;
    const float *of_dy, *of_u;
    vf scale;
    NK_INLINE vf u(int64_t i, int c) const { return load_up_to(x + i, c, 0.0f) * scale; }
    NK_INLINE vf of(vf own, vf above, int64_t i, int c) const {
        return fnma(load_up_to(of_u + i, c, 0.0f), own, load_up_to(of_dy + i, c, 0.0f) * above);
    }
    // mean of du u over the entries [start, start + width)
    NK_INLINE float along(int64_t start, int64_t width) const {
        const double sum = blocked_sum(width, [&](int64_t i, int c) {
            const vf own = u(start + i, c);
            return of(own, load_up_to(dy + start + i, c, 0.0f), start + i, c) * own;
        });
        return static_cast<float>(sum / static_cast<double>(width));
    }
};

template <int Rows, class T, bool Summed, bool Written>
NK_INLINE void backward_rows(const ColumnGradient& job, int64_t row, float* along_u, float* along_one) {
    const Groups groups(job);
    T* dx = static_cast<T*>(job.dx) + (Written ? row * job.channels : 0);
    const bool streamed = Written && job.stream && streamable(dx, job.channels, groups);
    Upstream<T> from[Rows];
    for (int k = 0; k < Rows; ++k) {
        const int64_t at = (row + k) * job.channels;
        from[k] = {static_cast<const T*>(job.x) + at, static_cast<const T*>(job.dy) + at, job.of_dy, job.of_u,
                   broadcast(1.0f)};
    }
    for (int64_t group = 0; group < groups.count; ++group) {
        const int64_t start = group * groups.width, end = start + groups.width;
        vf pull[Rows];
        for (int k = 0; k < Rows && groups.scaled; ++k) {
            from[k].scale = broadcast(job.scales[(row + k) * groups.count + group]);
            if (Written) pull[k] = broadcast(from[k].along(start, groups.width));
        }
        for (int64_t i = start; i < end; i += LANES) {
            const int c = part(end - i);
            vf with_u = {}, alone = {};
            for (int k = 0; k < Rows; ++k) {
                const vf u = from[k].u(i, c), dy = load_up_to(from[k].dy + i, c, 0.0f);
                if (Summed) {
                    with_u = fma(dy, u, with_u);
                    alone += dy;
                }
                if (!Written) continue;
                vf v = from[k].of(u, dy, i, c);
                if (groups.scaled) v = fnma(u, pull[k], v) * from[k].scale;
                put(dx + k * job.channels + i, v, c, streamed);
            }
            if (Summed && along_u) add_to(along_u + i, with_u, c);
            if (Summed && along_one) add_to(along_one + i, alone, c);
        }
    }
}

template <class T, bool Summed, bool Written>
void backward_all(const ColumnGradient& job, int64_t begin, int64_t end, float* along_u, float* along_one) {
    int64_t row = begin;
    if (job.channels <= LONGEST_BY_FOUR / 2) {
        for (; end - row >= 4; row += 4) backward_rows<4, T, Summed, Written>(job, row, along_u, along_one);
    }
    for (; row < end; ++row) backward_rows<1, T, Summed, Written>(job, row, along_u, along_one);
    if (job.stream) stream_fence();
}

template <class T>
void backward(const ColumnGradient& job, int64_t begin, int64_t end, float* along_u, float* along_one) {
    if (!along_u && !along_one) return backward_all<T, false, true>(job, begin, end, along_u, along_one);
    job.dx ? backward_all<T, true, true>(job, begin, end, along_u, along_one)
           : backward_all<T, true, false>(job, begin, end, along_u, along_one);
}

}  // namespace
