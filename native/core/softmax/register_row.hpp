// A short row as a whole in vector registers.
#pragma once
#include "gain.hpp"
#include "walks.hpp"

namespace {

// A row of V vectors in registers; lanes beyond the row hold -inf and so add nothing.
template <class T, int V>
struct RegisterRow {
    vf v[V];
    int last;

    NK_INLINE RegisterRow(const T* x, int64_t n) : last(static_cast<int>(n) - (V - 1) * LANES) {
        for (int k = 0; k < V - 1; ++k) v[k] = load(x + k * LANES);
        v[V - 1] = load_up_to(x + (V - 1) * LANES, last, MINUS_INFINITY);
    }
    // Lanes beyond the row to 0, for plain sums.
    NK_INLINE void clear_end() {
        if (last == LANES) return;
        float end[LANES];
        store(end, v[V - 1]);
        v[V - 1] = load_part(end, last, 0.0f);
    }
    NK_INLINE vf maxima() const {
        vf m = v[0];
        for (int k = 1; k < V; ++k) m = max_keep(m, v[k]);
        return m;
    }
    // v = e^v 2^-N; returns the sums lane by lane.
    template <bool High>
    NK_INLINE vf exponentiate(const Reference& reference) {
        for (int k = 0; k < V; ++k) v[k] = exponential<High>(v[k], reference);
        return sums<0, V>();
    }
    // Plain sum; a lane adds few elements, so that float32 is enough within it.
    NK_INLINE double total() const { return horizontal_sum(sums<0, V>()); }
    NK_INLINE double wide_sum() const {
        lane_doubles wide = {};
        for (int k = 0; k < V; ++k) wide += to_doubles(v[k]);
        return horizontal_sum(wide);
    }
    template <class Value>
    NK_INLINE void write(T* y, bool streamed, Value value) const {
        if (streamed && last == LANES && unaligned_head(y) == 0) {
            for (int k = 0; k < V; ++k) stream(y + k * LANES, value(k));
            return;
        }
        for (int k = 0; k < V - 1; ++k) store(y + k * LANES, value(k));
        store_up_to(y + (V - 1) * LANES, value(V - 1), last);
    }

private:
    // Lane by lane, in pairs: an element is rounded log2 V times, not V.
    template <int First, int Count>
    NK_INLINE vf sums() const {
        if constexpr (Count == 1) {
            return v[First];
        } else {
            return sums<First, Count / 2>() + sums<First + Count / 2, Count - Count / 2>();
        }
    }
};

}  // namespace
