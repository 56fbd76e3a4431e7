// What every processor has: 4 float32 lanes of the compiler's generic vectors, no fused multiply-add assumed.
#pragma once
#include <math.h>

namespace {

constexpr bool FUSED = false;  // a*b + c rounds twice
constexpr int LANES = 4;
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vmask __attribute__((vector_size(16)));

NK_INLINE vf broadcast(float s) { return vf{s, s, s, s}; }
NK_INLINE vf load(const float* p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
NK_INLINE void store(float* p, vf v) { memcpy(p, &v, sizeof v); }
NK_INLINE vf load_part(const float* p, int count, float fill) {
    vf v = broadcast(fill);
    memcpy(&v, p, sizeof(float) * static_cast<size_t>(count));
    return v;
}
NK_INLINE void store_part(float* p, vf v, int count) { memcpy(p, &v, sizeof(float) * static_cast<size_t>(count)); }
NK_INLINE void stream(float* p, vf v) { store(p, v); }
NK_INLINE void stream_half(void* p, const void* from) { memcpy(p, from, 8); }
NK_INLINE void stream_fence() {}

NK_INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
NK_INLINE vf fnma(vf a, vf b, vf c) { return c - a * b; }
NK_INLINE vf select(vmask m, vf a, vf b) { return (vf)(((vmask)a & m) | ((vmask)b & ~m)); }
NK_INLINE vf max_keep(vf bound, vf x) { return select((vmask)(bound > x), bound, x); }
NK_INLINE vf min_keep(vf bound, vf x) { return select((vmask)(bound < x), bound, x); }
NK_INLINE vf number_or_lowest(vf x) {
    const vf lowest = broadcast(-0x1.fffffep127f);
    return select((vmask)(x > lowest), x, lowest);
}
NK_INLINE vf round_to_integer(vf x) { return vf{rintf(x[0]), rintf(x[1]), rintf(x[2]), rintf(x[3])}; }
NK_INLINE bool any(vmask m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
NK_INLINE bool any_greater(vf a, vf b) { return any((vmask)(a > b)); }
NK_INLINE bool any_nan(vf a) { return any((vmask)(a != a)); }
NK_INLINE float larger(float a, float b) { return a > b ? a : b; }
NK_INLINE float horizontal_max(vf v) { return larger(larger(v[0], v[2]), larger(v[1], v[3])); }
typedef double vd __attribute__((vector_size(16)));
NK_INLINE vd low_doubles(vf v) { return vd{static_cast<double>(v[0]), static_cast<double>(v[1])}; }
NK_INLINE vd high_doubles(vf v) { return vd{static_cast<double>(v[2]), static_cast<double>(v[3])}; }
NK_INLINE double sum_lanes(vd d) { return d[0] + d[1]; }
NK_INLINE four_doubles sum_lanes(vd a, vd b, vd c, vd d) {
    return four_doubles{sum_lanes(a), sum_lanes(b), sum_lanes(c), sum_lanes(d)};
}
NK_INLINE double horizontal_sum(vf v) {
    const double a = static_cast<double>(v[0]) + static_cast<double>(v[1]);
    return a + (static_cast<double>(v[2]) + static_cast<double>(v[3]));
}
NK_INLINE four_floats horizontal_max(vf a, vf b, vf c, vf d) {
    return four_floats{horizontal_max(a), horizontal_max(b), horizontal_max(c), horizontal_max(d)};
}
NK_INLINE four_doubles horizontal_sum(vf a, vf b, vf c, vf d) {
    return four_doubles{horizontal_sum(a), horizontal_sum(b), horizontal_sum(c), horizontal_sum(d)};
}

typedef vmask native_int;
constexpr int TABLE_BITS = 0;  // no permutation of whole lanes by index
NK_INLINE native_int power_table(native_int index) { return index ^ index; }
NK_INLINE vf power_table_rest(native_int) { return vf{}; }

// v 2^d for whole d <= 0: the sum leaves d + 127 in the low bits, the shift moves it into the exponent field.
NK_INLINE vf scale_by_power(vf v, vf d) {
    const vf field = max_keep(broadcast(-127.0f), d) + broadcast(0x1.8000FEp23f);
    return v * (vf)((vmask)field << 23);
}

NK_INLINE float f16_to_float(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
    const uint32_t magnitude = h & 0x7fffu;
    uint32_t bits = sign | ((magnitude << 13) + 0x38000000u);  // normal: move the exponent's bias
    if (magnitude >= 0x7c00u) bits = sign | 0x7f800000u | (magnitude << 13);
    float value;
    memcpy(&value, &bits, sizeof value);
    if (magnitude < 0x0400u) value = (sign ? -0x1p-24f : 0x1p-24f) * static_cast<float>(magnitude);  // subnormal
    return value;
}

NK_INLINE uint16_t float_to_f16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
    if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {  // subnormal: let the addition of 0.5 round to the grid 2^-24
        float rounded;
        memcpy(&rounded, &magnitude, sizeof rounded);
        rounded += 0.5f;
        memcpy(&bits, &rounded, sizeof bits);
        return static_cast<uint16_t>(sign | (bits - 0x3f000000u));
    }
    const uint32_t even = (magnitude >> 13) & 1u;
    return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0x0fffu + even) >> 13));
}

NK_INLINE vf widen_f16(const void* p) {
    uint16_t h[LANES];
    memcpy(h, p, sizeof h);
    return vf{f16_to_float(h[0]), f16_to_float(h[1]), f16_to_float(h[2]), f16_to_float(h[3])};
}
NK_INLINE void narrow_f16(void* p, vf v) {
    const uint16_t h[LANES] = {float_to_f16(v[0]), float_to_f16(v[1]), float_to_f16(v[2]), float_to_f16(v[3])};
    memcpy(p, h, sizeof h);
}

}  // namespace
