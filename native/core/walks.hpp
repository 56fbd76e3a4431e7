// The two ways in which kernels walk a row: adding it up and writing it.
#pragma once
#include "storage.hpp"

namespace {

constexpr int CHUNK = 4 * LANES;
constexpr int64_t BLOCK = 8 * CHUNK;      // elements summed in float32 before they go into a double
constexpr int64_t PREFETCH_BYTES = 2048;  // how far ahead the reading passes ask for memory

NK_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
NK_INLINE int part(int64_t left) { return left < LANES ? static_cast<int>(left) : LANES; }

// Sum of term(i, count) over the row; term returns `count` values from i on and zeros in the other lanes.
// Blocks of float32 sums are added in double: the error does not grow with n.
template <class Term>
NK_INLINE double blocked_sum(int64_t n, Term term) {
    double sum = 0.0;
    int64_t i = 0;
    while (n - i >= CHUNK) {
        const int64_t end = i + smaller(BLOCK, (n - i) / CHUNK * CHUNK);
        vf s0 = {}, s1 = {}, s2 = {}, s3 = {};
        for (; i < end; i += CHUNK) {
            s0 += term(i, LANES);
            s1 += term(i + LANES, LANES);
            s2 += term(i + 2 * LANES, LANES);
            s3 += term(i + 3 * LANES, LANES);
        }
        sum += horizontal_sum((s0 + s1) + (s2 + s3));
    }
    if (i == n) return sum;
    vf rest = {};
    for (; n - i >= LANES; i += LANES) rest += term(i, LANES);
    if (i < n) rest += term(i, part(n - i));
    return sum + horizontal_sum(rest);
}

template <class T>
NK_INLINE vf vector_maximum(const T* x, int64_t n) {
    vf m0 = broadcast(MINUS_INFINITY), m1 = m0;
    int64_t i = 0;
    for (; n - i >= 2 * LANES; i += 2 * LANES) {
        m0 = max_keep(m0, load(x + i));
        m1 = max_keep(m1, load(x + i + LANES));
    }
    for (; i < n; i += LANES) m0 = max_keep(m0, load_up_to(x + i, part(n - i), MINUS_INFINITY));
    return max_keep(m0, m1);
}

// Elements before the first address to which a whole vector can be streamed.
template <class T>
NK_INLINE int64_t unaligned_head(const T* y) {
    const uintptr_t bytes = LANES * sizeof(T);
    return static_cast<int64_t>((0 - reinterpret_cast<uintptr_t>(y)) % bytes / sizeof(T));
}

// Stores `count` lanes, past the cache where they are a whole vector and `streamed`.
template <class T>
NK_INLINE void put(T* p, vf v, int count, bool streamed) {
    if (streamed && count == LANES) {
        stream(p, v);
    } else {
        store_up_to(p, v, count);
    }
}

// y[i] = value(i, count) for the row. value must depend on its own positions only, so y may be an input.
template <class T, class Value>
NK_INLINE void write_row(T* y, int64_t n, bool streamed, Value value) {
    int64_t i = 0;
    if (streamed) {
        const int64_t head = smaller(unaligned_head(y), n);
        if (head > 0) store_part(y, value(0, static_cast<int>(head)), static_cast<int>(head));
        for (i = head; n - i >= CHUNK; i += CHUNK) {
            const vf v0 = value(i, LANES), v1 = value(i + LANES, LANES);
            const vf v2 = value(i + 2 * LANES, LANES), v3 = value(i + 3 * LANES, LANES);
            stream(y + i, v0);
            stream(y + i + LANES, v1);
            stream(y + i + 2 * LANES, v2);
            stream(y + i + 3 * LANES, v3);
        }
    }
    for (; n - i >= 2 * LANES; i += 2 * LANES) {
        const vf v0 = value(i, LANES), v1 = value(i + LANES, LANES);
        store(y + i, v0);
        store(y + i + LANES, v1);
    }
    for (; n - i >= LANES; i += LANES) store(y + i, value(i, LANES));
    if (i < n) store_part(y + i, value(i, part(n - i)), part(n - i));
}

// The same from the end to the start: after a forward pass over a row larger than the cache, its end is still there.
template <class T, class Value>
NK_INLINE void write_row_backwards(T* y, int64_t n, Value value) {
    int64_t i = n / LANES * LANES;
    if (i < n) store_part(y + i, value(i, part(n - i)), part(n - i));
    for (; i >= 2 * LANES; i -= 2 * LANES) {
        const vf v0 = value(i - LANES, LANES), v1 = value(i - 2 * LANES, LANES);
        store(y + i - LANES, v0);
        store(y + i - 2 * LANES, v1);
    }
    if (i > 0) store(y, value(0, LANES));
}

// The second pass over a row: backwards, for its end is still in cache; of a row that is streamed out little is, and
// memory is read faster forwards.
template <class T, class Value>
NK_INLINE void write_row_again(T* y, int64_t n, bool streamed, Value value) {
    streamed ? write_row(y, n, true, value) : write_row_backwards(y, n, value);
}

template <class T>
NK_INLINE void fill_row(T* y, int64_t n, float value) {
    write_row(y, n, false, [value](int64_t, int) { return broadcast(value); });
}

}  // namespace
