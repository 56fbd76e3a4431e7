// Rows longer than the first-level cache holds: one pass that sums, one that writes.
//
// The reference N of the exponentials (exponential.hpp) starts at the first chunk's maximum and moves up when a
// chunk exceeds it by 2^23; sums are then multiplied by an exact power of two. Where the exponentials are kept
// (in the output or in scratch) the places at which N moved are remembered as segments. Each move is at least 22,
// so all but the last eight segments are below 2^-126 in the result whatever follows: the list stays short for
// every input, an ascending ramp included.
#pragma once
#include "gain.hpp"
#include "shifted_row.hpp"

namespace {

constexpr float DEAD_DISTANCE = 152.0f;  // e <= 2^24.5, so 2^-152 of it is below the normal range

NK_INLINE void push_segment(Partial& p, int64_t start, float reference) {
    int dead = 0;
    while (dead < p.live && p.segments[dead].reference < reference - DEAD_DISTANCE) ++dead;
    if (dead == 0 && p.live == Partial::CAPACITY) dead = 1;  // only a row with a NaN can come here
    for (int i = dead; i < p.live; ++i) p.segments[i - dead] = p.segments[i];
    p.live -= dead;
    if (dead > 0) p.dead_end = p.live > 0 ? p.segments[0].start : start;
    p.segments[p.live++] = {start, reference};
}

// Which chunk of the row is added.
enum Place { FIRST_OF_TWO, SECOND_OF_TWO, ALONE };

// The running state of the summing pass.
template <bool High, bool Keep>
struct Summation {
    Partial& p;
    Reference reference;
    vf ceiling;
    vf waiting = {};         // lane by lane: the sum of a chunk that is added to the next before both go into `wide`
    WideSums wide;           // float32 sums would round an element at every chunk that follows it

    NK_INLINE explicit Summation(Partial& partial, float first_maximum)
        : p(partial), reference(reference_at(reference_for(first_maximum))) {
        p.sum = 0.0;
        p.live = 0;
        p.dead_end = 0;
        p.reference = reference.n;
        set_ceiling();
        if (Keep) push_segment(p, 0, reference.n);
    }

    NK_INLINE void set_ceiling() { ceiling = broadcast((reference.n + HEADROOM) * LN_2); }

    __attribute__((noinline)) void move(float maximum, int64_t at) {
        const float next = reference_for(maximum);
        if (!(next > reference.n)) return;
        const float factor = power_of_two(reference.n - next);
        waiting *= factor;
        wide *= static_cast<double>(factor);
        reference = reference_at(next);
        p.reference = next;
        set_ceiling();
        if (Keep) push_segment(p, at, next);
    }

    template <Place Where>
    NK_INLINE void add(vf x0, vf x1, vf x2, vf x3, float* e, int64_t at) {
        const vf maximum = max_keep(max_keep(x0, x1), max_keep(x2, x3));
        if (__builtin_expect(any_greater(maximum, ceiling), 0)) move(horizontal_max(maximum), at);
        const vf e0 = exponential<High>(x0, reference), e1 = exponential<High>(x1, reference);
        const vf e2 = exponential<High>(x2, reference), e3 = exponential<High>(x3, reference);
        if (Keep) {
            store(e, e0);
            store(e + LANES, e1);
            store(e + 2 * LANES, e2);
            store(e + 3 * LANES, e3);
        }
        if (High) {
            wide += e0;
            wide += e1;
            wide += e2;
            wide += e3;
        } else if (Where == FIRST_OF_TWO) {
            waiting = (e0 + e1) + (e2 + e3);
        } else {
            const vf sum = (e0 + e1) + (e2 + e3);
            wide += Where == SECOND_OF_TWO ? waiting + sum : sum;
        }
    }

    NK_INLINE void finish() { p.sum = wide.total(); }
};

template <class T>
NK_INLINE float chunk_maximum(const T* x, int64_t n) {
    return horizontal_max(vector_maximum(x, smaller(n, CHUNK)));
}

// What a summing pass does beside its own work after each chunk: nothing.
struct NothingBeside {
    NK_INLINE void operator()() {}
};

template <Place Where>
struct At {
    static constexpr Place value = Where;
};

// Pass 1: p = sum of e^x over the piece; with Keep the exponentials are stored in e as well.
template <class T, bool High, bool Keep, class Beside>
NK_INLINE void sum_exponentials_beside(const T* x, float* e, int64_t n, Partial& p, Beside& beside) {
    Summation<High, Keep> state(p, chunk_maximum(x, n));
    const auto add_chunk = [&](auto place, int64_t i) __attribute__((always_inline)) {
        const char* ahead = reinterpret_cast<const char*>(x + i) + PREFETCH_BYTES;
        for (size_t line = 0; line < CHUNK * sizeof(T); line += 64) prefetch(ahead + line);
        state.template add<decltype(place)::value>(load(x + i), load(x + i + LANES), load(x + i + 2 * LANES),
                                                  load(x + i + 3 * LANES), Keep ? e + i : nullptr, i);
        beside();
    };
    int64_t i = 0;
    for (; n - i >= 2 * CHUNK; i += 2 * CHUNK) {
        add_chunk(At<FIRST_OF_TWO>(), i);
        add_chunk(At<SECOND_OF_TWO>(), i + CHUNK);
    }
    if (n - i >= CHUNK) {
        add_chunk(At<ALONE>(), i);
        i += CHUNK;
    }
    if (i == n) return state.finish();
    vf rest[4];
    for (int k = 0; k < 4; ++k) {
        const int64_t left = n - i - k * LANES;
        rest[k] = left > 0 ? load_up_to(x + i + k * LANES, part(left), MINUS_INFINITY) : broadcast(MINUS_INFINITY);
    }
    float kept[CHUNK];
    state.template add<ALONE>(rest[0], rest[1], rest[2], rest[3], kept, i);
    state.finish();
    if (Keep) memcpy(e + i, kept, sizeof(float) * static_cast<size_t>(n - i));
}

template <class T, bool High, bool Keep>
void sum_exponentials(const T* x, float* e, int64_t n, Partial& p) {
    NothingBeside nothing;
    sum_exponentials_beside<T, High, Keep>(x, e, n, p, nothing);
}

// Whether e times this factor has all its digits when the factor alone is a float32.
NK_INLINE bool is_whole_gain(double factor) { return __builtin_fabs(factor) >= 0x1p-126; }

// y = e 2^(N_segment - N) factor / S for one stretch that was stored under one reference.
template <class T>
NK_INLINE void scale_segment(const float* e, T* y, int64_t n, bool streamed, double factor) {
    if (is_whole_gain(factor)) {
        const Gain<true> gain(factor);
        write_row(y, n, streamed, [&](int64_t i, int count) { return gain(load_up_to(e + i, count, 0.0f)); });
        return;
    }
    // The factor alone would be subnormal although e times it need not be.
    const Gain<true> gain(factor * 0x1p96);
    const vf rest = broadcast(0x1p-96f);
    write_row(y, n, streamed, [&](int64_t i, int count) { return gain(load_up_to(e + i, count, 0.0f)) * rest; });
}

// 2^d for a whole d <= 0; 0 where nothing of it could count.
NK_INLINE double power_below(double d) {
    if (!(d > -1000.0)) return 0.0;
    const uint64_t bits = static_cast<uint64_t>(static_cast<int64_t>(d) + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
void scale_segments(const float* e, T* y, int64_t n, bool streamed, const Partial& own, const Partial& whole,
                    float factor) {
    const double inverse = static_cast<double>(factor) / whole.sum;
    fill_row(y, own.dead_end, 0.0f * factor);
    for (int k = 0; k < own.live; ++k) {
        const int64_t start = own.segments[k].start;
        const int64_t end = k + 1 < own.live ? own.segments[k + 1].start : n;
        const double gain = inverse * power_below(static_cast<double>(own.segments[k].reference - whole.reference));
        scale_segment(e + start, y + start, end - start, streamed, gain);
    }
}

// Pass 2 of the two-pass path: 1/S = mantissa 2^k; the power goes into the reference, the mantissa into the scale.
template <class T, bool High>
void recompute_row(const T* x, T* y, int64_t n, bool streamed, const Partial& whole, float factor) {
    int exponent;
    const float mantissa = static_cast<float>(frexp(1.0 / whole.sum, &exponent));
    const Reference r = reference_at(whole.reference - static_cast<float>(exponent));
    const vf gain = broadcast(mantissa * factor);
    write_row_again(y, n, streamed, [&](int64_t i, int count) {
        return exponential_with<High, true>(load_up_to(x + i, count, MINUS_INFINITY), r.bias, r.floor, gain);
    });
}

NK_INLINE double log_of(const Partial& whole) {
    return static_cast<double>(whole.reference) * LN_2_DOUBLE + log(whole.sum);
}

// A sum that the fast kernels stand for; otherwise the row goes to shifted_row.
NK_INLINE bool is_ordinary(const Partial& whole) {
    return whole.sum >= 0x1p-60 && whole.sum < static_cast<double>(__builtin_inff()) &&
           whole.reference < REFERENCE_LIMIT && whole.reference > -REFERENCE_LIMIT;
}

}  // namespace
