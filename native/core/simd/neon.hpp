// AArch64 Advanced SIMD: 4 float32 lanes.
#pragma once
#include <arm_neon.h>

#if !defined(__aarch64__)
#error "this file must be compiled for AArch64"
#endif

namespace {

constexpr bool FUSED = true;  // a*b + c with one rounding
constexpr int LANES = 4;
typedef float vf __attribute__((vector_size(16)));

NK_INLINE vf broadcast(float s) { return (vf)vdupq_n_f32(s); }
NK_INLINE vf load(const float* p) { return (vf)vld1q_f32(p); }
NK_INLINE void store(float* p, vf v) { vst1q_f32(p, (float32x4_t)v); }
NK_INLINE void stream(float* p, vf v) { vst1q_f32(p, (float32x4_t)v); }  // no non-temporal form worth having
NK_INLINE void stream_fence() {}
NK_INLINE vf load_part(const float* p, int count, float fill) {
    vf v = broadcast(fill);
    memcpy(&v, p, sizeof(float) * static_cast<size_t>(count));
    return v;
}
NK_INLINE void store_part(float* p, vf v, int count) { memcpy(p, &v, sizeof(float) * static_cast<size_t>(count)); }

NK_INLINE vf fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
NK_INLINE vf fnma(vf a, vf b, vf c) { return (vf)vfmsq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
NK_INLINE vf max_keep(vf bound, vf x) { return (vf)vmaxq_f32((float32x4_t)bound, (float32x4_t)x); }
NK_INLINE vf min_keep(vf bound, vf x) { return (vf)vminq_f32((float32x4_t)bound, (float32x4_t)x); }
NK_INLINE vf number_or_lowest(vf x) { return (vf)vmaxnmq_f32((float32x4_t)x, vdupq_n_f32(-0x1.fffffep127f)); }
NK_INLINE vf round_to_integer(vf x) { return (vf)vrndnq_f32((float32x4_t)x); }
NK_INLINE bool any_greater(vf a, vf b) { return vmaxvq_u32(vcgtq_f32((float32x4_t)a, (float32x4_t)b)) != 0; }
NK_INLINE bool any_nan(vf a) { return vminvq_u32(vceqq_f32((float32x4_t)a, (float32x4_t)a)) == 0; }
NK_INLINE float horizontal_max(vf v) { return vmaxnmvq_f32((float32x4_t)v); }
typedef double vd __attribute__((vector_size(16)));
NK_INLINE vd low_doubles(vf v) { return (vd)vcvt_f64_f32(vget_low_f32((float32x4_t)v)); }
NK_INLINE vd high_doubles(vf v) { return (vd)vcvt_high_f64_f32((float32x4_t)v); }
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

typedef int32x4_t native_int;
constexpr int TABLE_BITS = 0;  // no permutation of whole lanes by index
NK_INLINE native_int power_table(native_int index) { return index ^ index; }
NK_INLINE vf power_table_rest(native_int) { return vf{}; }

// v 2^d for whole d <= 0: the sum leaves d + 127 in the low bits, the shift moves it into the exponent field.
NK_INLINE vf scale_by_power(vf v, vf d) {
    const vf field = max_keep(broadcast(-127.0f), d) + broadcast(0x1.8000FEp23f);
    return v * (vf)vshlq_n_s32((int32x4_t)field, 23);
}

NK_INLINE vf widen_f16(const void* p) {
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(static_cast<const uint16_t*>(p))));
}
NK_INLINE void narrow_f16(void* p, vf v) {
    vst1_u16(static_cast<uint16_t*>(p), vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)v)));
}
NK_INLINE void stream_half(void* p, const void* from) { memcpy(p, from, 8); }

}  // namespace
