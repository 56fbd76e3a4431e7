// How numbers lie in memory: float32, bfloat16 and float16, all computed on as float32.
//
// Half types are widened on load and rounded to nearest even on store. A partial load fills the lanes beyond
// `count`; it never touches memory beyond the last element.
#pragma once
#include "simd.hpp"

namespace {

struct bf16 {
    uint16_t bits;
};
struct f16 {
    uint16_t bits;
};

NK_INLINE vf widen(const bf16* p) {
    vh h;
    memcpy(&h, p, sizeof h);
    return (vf)(__builtin_convertvector(h, vu) << 16);
}
NK_INLINE vf widen(const f16* p) { return widen_f16(p); }

NK_INLINE void narrow(bf16* p, vf v) {
    const vu bits = (vu)v;
    const vu rounded = (bits + (0x7fffu + ((bits >> 16) & 1u))) >> 16;
    const vi is_nan = (vi)(v != v);
    const vu kept = (rounded & ~(vu)is_nan) | ((vu)is_nan & 0x7fc0u);
    const vh h = __builtin_convertvector(kept, vh);
    memcpy(p, &h, sizeof h);
}
NK_INLINE void narrow(f16* p, vf v) { narrow_f16(p, v); }

template <class H>
NK_INLINE vf load_half_part(const H* p, int count, float fill) {
    H buffer[LANES];
    memset(buffer, 0, sizeof buffer);
    memcpy(buffer, p, sizeof(H) * static_cast<size_t>(count));
    float wide[LANES];
    store(wide, widen(buffer));
    return load_part(wide, count, fill);
}
template <class H>
NK_INLINE void store_half_part(H* p, vf v, int count) {
    H buffer[LANES];
    narrow(buffer, v);
    memcpy(p, buffer, sizeof(H) * static_cast<size_t>(count));
}
template <class H>
NK_INLINE void stream_narrow(H* p, vf v) {
    H buffer[LANES];
    narrow(buffer, v);
    stream_half(p, buffer);
}

NK_INLINE vf load(const bf16* p) { return widen(p); }
NK_INLINE vf load(const f16* p) { return widen(p); }
NK_INLINE void store(bf16* p, vf v) { narrow(p, v); }
NK_INLINE void store(f16* p, vf v) { narrow(p, v); }
NK_INLINE vf load_part(const bf16* p, int count, float fill) { return load_half_part(p, count, fill); }
NK_INLINE vf load_part(const f16* p, int count, float fill) { return load_half_part(p, count, fill); }
NK_INLINE void store_part(bf16* p, vf v, int count) { store_half_part(p, v, count); }
NK_INLINE void store_part(f16* p, vf v, int count) { store_half_part(p, v, count); }
NK_INLINE void stream(bf16* p, vf v) { stream_narrow(p, v); }
NK_INLINE void stream(f16* p, vf v) { stream_narrow(p, v); }

// The same with a count that may be a whole vector; with a constant count the test disappears.
template <class T>
NK_INLINE vf load_up_to(const T* p, int count, float fill) {
    return count == LANES ? load(p) : load_part(p, count, fill);
}
template <class T>
NK_INLINE void store_up_to(T* p, vf v, int count) {
    if (count == LANES) {
        store(p, v);
    } else {
        store_part(p, v, count);
    }
}

NK_INLINE float load_one(const float* p) { return *p; }
NK_INLINE float load_one(const bf16* p) { return load_part(p, 1, 0.0f)[0]; }
NK_INLINE float load_one(const f16* p) { return load_part(p, 1, 0.0f)[0]; }
template <class T>
NK_INLINE void store_one(T* p, float value) {
    store_part(p, broadcast(value), 1);
}

}  // namespace
