// The row norms backward, two or four rows at a time: the gradients of weight and bias are fetched once for them.
#pragma once
#include "forward.hpp"

namespace {

template <NormOperation Op, class T, bool Weighted>
struct GradientRow {
    const T* s;
    const T* dy;
    Normalise<Op> normalise;
    const float* weight;
    vf offset;

    NK_INLINE GradientRow(const NormGradient& job, int64_t row)
        : s(static_cast<const T*>(job.s) + row * job.dim),
          dy(static_cast<const T*>(job.dy) + row * job.dim),
          normalise(job.scales[row]),
          weight(job.weight),
          offset(broadcast(job.offset)) {}

    NK_INLINE vf gain(int64_t i, int c) const {
        if (!Weighted) return broadcast(1.0f);
        const vf w = load_up_to(weight + i, c, 0.0f);
        return Op == LAYER_NORM ? w : w + offset;
    }
    NK_INLINE vf normalised(int64_t i, int c) const { return normalise(load_up_to(s + i, c, 0.0f)); }
    NK_INLINE vf upstream(int64_t i, int c) const { return load_up_to(dy + i, c, 0.0f); }

    NK_INLINE void add(int64_t i, int c, vf& g_sum, vf& g_n_sum) const {
        const vf g = upstream(i, c) * gain(i, c);
        if (Op == LAYER_NORM) g_sum += g;
        g_n_sum = fma(g, normalised(i, c), g_n_sum);
    }

    // Lanes beyond the end hold s = dy = 0, so g = 0 and they add nothing (n is finite there unless the row is not).
    NK_INLINE GradientSums sums(int64_t i, int64_t n) const {
        GradientSums found = {0.0, 0.0};
        while (i < n) {
            const int64_t whole = i + smaller(BLOCK, (n - i) / (2 * LANES) * (2 * LANES));
            vf g0 = {}, g1 = {}, n0 = {}, n1 = {};
            for (; i < whole; i += 2 * LANES) {
                add(i, LANES, g0, n0);
                add(i + LANES, LANES, g1, n1);
            }
            if (n - i < 2 * LANES) {
                for (; i < n; i += LANES) add(i, part(n - i), g0, n0);
            }
            if (Op == LAYER_NORM) found.g += horizontal_sum(g0 + g1);
            found.g_n += horizontal_sum(n0 + n1);
        }
        return found;
    }

    NK_INLINE GradientSums sums(int64_t n) const {
        GradientSums all = sums(0, smaller(n, LONGEST_PART));
        for (int64_t i = LONGEST_PART; i < n; i += LONGEST_PART) {
            const GradientSums found = sums(i, smaller(n, i + LONGEST_PART));
            all.g += found.g;
            all.g_n += found.g_n;
        }
        return all;
    }
};

// dx = r (g - of_one - n of_n). Of a single entry g - mean g is exactly 0; r g - r mean g need not be.
template <NormOperation Op>
struct Pull {
    vf r, of_n, of_one;
    NK_INLINE Pull(const RowScale& scale, const GradientSums& sums, int64_t dim) {
        const double n = static_cast<double>(Op == COMPRESSED_NORM ? dim + 1 : dim), along = sums.g_n / n;
        // In the compressed norm the pull is along n - shift = n + r Σ s.
        const double rest = Op == LAYER_NORM ? sums.g / n : -along * static_cast<double>(scale.shift);
        r = broadcast(scale.r);
        of_n = broadcast(static_cast<float>(along));
        of_one = broadcast(static_cast<float>(rest));
    }
    NK_INLINE vf operator()(vf g, vf n) const { return r * fnma(n, of_n, Op == RMS_NORM ? g : g - of_one); }
};

// dx of rows next to each other, and what they add to the gradients of weight and bias.
template <int Rows, NormOperation Op, class T, bool Weighted>
NK_INLINE void write_gradients(const NormGradient& job, int64_t row, const GradientRow<Op, T, Weighted>* rows,
                               const Pull<Op>* pull, float* weight, float* bias) {
    T* dx = static_cast<T*>(job.dx) + row * job.dim;
    const T* ds = static_cast<const T*>(job.ds) + (job.ds ? row * job.dim : 0);
    const bool streamed = job.stream && unaligned_head(dx) == 0 && job.dim % LANES == 0;
    for (int64_t i = 0; i < job.dim; i += LANES) {
        const int c = part(job.dim - i);
        const vf gain = rows[0].gain(i, c);
        vf along_weight = {}, along_bias = {};
        for (int k = 0; k < Rows; ++k) {
            const vf dy = rows[k].upstream(i, c), n = rows[k].normalised(i, c);
            along_weight = fma(dy, n, along_weight);
            along_bias += dy;
            vf v = pull[k](Weighted ? dy * gain : dy, n);
            if (job.ds) v += load_up_to(ds + k * job.dim + i, c, 0.0f);
            put(dx + k * job.dim + i, v, c, streamed);
        }
        if (weight) store_up_to(weight + i, load_up_to(weight + i, c, 0.0f) + along_weight, c);
        if (bias) store_up_to(bias + i, load_up_to(bias + i, c, 0.0f) + along_bias, c);
    }
}

template <int Rows, NormOperation Op, class T, bool Weighted>
NK_INLINE void gradient_rows(const NormGradient& job, int64_t row, float* weight, float* bias) {
    typedef GradientRow<Op, T, Weighted> Row;
    alignas(Row) char storage[Rows * sizeof(Row)];
    alignas(Pull<Op>) char pulls[Rows * sizeof(Pull<Op>)];
    Row* rows = reinterpret_cast<Row*>(storage);
    Pull<Op>* pull = reinterpret_cast<Pull<Op>*>(pulls);
    for (int k = 0; k < Rows; ++k) {
        const Row own(job, row + k);
        const Pull<Op> out(job.scales[row + k], own.sums(job.dim), job.dim);
        memcpy(static_cast<void*>(rows + k), &own, sizeof own);
        memcpy(static_cast<void*>(pull + k), &out, sizeof out);
    }
    write_gradients<Rows, Op, T, Weighted>(job, row, rows, pull, weight, bias);
}

// Rows are read twice: four of them, with their gradients, stay in L1 up to this length.
constexpr int64_t LONGEST_BY_FOUR = 512;

template <NormOperation Op, class T, bool Weighted>
void backward_rows(const NormGradient& job, int64_t begin, int64_t end, float* weight, float* bias) {
    int64_t row = begin;
    if (job.dim <= LONGEST_BY_FOUR) {
        for (; end - row >= 4; row += 4) gradient_rows<4, Op, T, Weighted>(job, row, weight, bias);
    }
    for (; end - row >= 2; row += 2) gradient_rows<2, Op, T, Weighted>(job, row, weight, bias);
    for (; row < end; ++row) gradient_rows<1, Op, T, Weighted>(job, row, weight, bias);
    if (job.stream) stream_fence();
}

template <NormOperation Op, class T, bool Weighted>
GradientSums gradient_sums_of_part(const NormGradient& part) {
    return GradientRow<Op, T, Weighted>(part, 0).sums(part.dim);
}

template <NormOperation Op, class T, bool Weighted>
void write_gradient_of_part(const NormGradient& part, const GradientSums& sums, int64_t dim, float* weight,
                            float* bias) {
    const GradientRow<Op, T, Weighted> row(part, 0);
    const Pull<Op> pull(part.scales[0], sums, dim);
    write_gradients<1, Op, T, Weighted>(part, 0, &row, &pull, weight, bias);
    if (part.stream) stream_fence();
}

}  // namespace
