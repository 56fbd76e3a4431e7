// y = u gain + shift and the sums of u^2, in one read of x (two, the second from L1, where groups have scales).
#pragma once
#include "rows.hpp"

namespace {

template <int Rows, class T, bool Summed, bool Written>
NK_INLINE void forward_rows(const ColumnJob& job, int64_t row, float* squares, float* left_out) {
    const Groups groups(job);
    const T* x = static_cast<const T*>(job.x) + row * job.channels;
    T* y = static_cast<T*>(job.y) + (Written ? row * job.channels : 0);
    const bool streamed = Written && job.stream && streamable(y, job.channels, groups);
    for (int64_t group = 0; group < groups.count; ++group) {
        const int64_t start = group * groups.width, end = start + groups.width;
        vf scale[Rows];
        for (int k = 0; k < Rows; ++k) {
            float s = 1.0f;
            if (groups.scaled) {
                float& kept = job.scales[(row + k) * groups.count + group];
                if (!job.scaled) kept = group_scale(x + k * job.channels + start, groups.width, job.eps);
                s = kept;
            }
            scale[k] = broadcast(s);
        }
        for (int64_t i = start; i < end; i += LANES) {
            const int c = part(end - i);
            vf counted = {}, other = {}, gain = {}, shift = {};
            if (Written) {
                gain = load_up_to(job.gain + i, c, 0.0f);
                if (job.shift) shift = load_up_to(job.shift + i, c, 0.0f);
            }
            for (int k = 0; k < Rows; ++k) {
                const vf u = load_up_to(x + k * job.channels + i, c, 0.0f) * scale[k];
                if (Summed) {
                    vf& sum = job.left_out && job.left_out[row + k] ? other : counted;
                    sum = fma(u, u, sum);
                }
                if (Written) put(y + k * job.channels + i, fma(u, gain, shift), c, streamed);
            }
            if (Summed && squares) add_to(squares + i, counted, c);
            if (Summed && left_out) add_to(left_out + i, other, c);
        }
    }
}

template <class T, bool Summed, bool Written>
void forward_all(const ColumnJob& job, int64_t begin, int64_t end, float* squares, float* left_out) {
    int64_t row = begin;
    if (job.channels <= LONGEST_BY_FOUR) {
        for (; end - row >= 4; row += 4) forward_rows<4, T, Summed, Written>(job, row, squares, left_out);
    }
    for (; row < end; ++row) forward_rows<1, T, Summed, Written>(job, row, squares, left_out);
    if (job.stream) stream_fence();
}

template <class T>
void forward(const ColumnJob& job, int64_t begin, int64_t end, float* squares, float* left_out) {
    if (!squares && !left_out) return forward_all<T, false, true>(job, begin, end, squares, left_out);
    job.y ? forward_all<T, true, true>(job, begin, end, squares, left_out)
          : forward_all<T, true, false>(job, begin, end, squares, left_out);
}

}  // namespace
