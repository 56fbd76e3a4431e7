// AVX2 + FMA (x86-64-v3): 8 float32 lanes.
#pragma once
#include <immintrin.h>

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file must be compiled for x86-64-v3"
#endif

namespace {

constexpr bool FUSED = true;  // a*b + c with one rounding
constexpr int LANES = 8;
typedef float vf __attribute__((vector_size(32)));

NK_INLINE __m256i first(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

NK_INLINE vf broadcast(float s) { return (vf)_mm256_set1_ps(s); }
NK_INLINE vf load(const float* p) { return (vf)_mm256_loadu_ps(p); }
NK_INLINE void store(float* p, vf v) { _mm256_storeu_ps(p, (__m256)v); }
NK_INLINE void stream(float* p, vf v) { _mm256_stream_ps(p, (__m256)v); }
NK_INLINE void stream_fence() { _mm_sfence(); }
NK_INLINE vf load_part(const float* p, int count, float fill) {
    const __m256i mask = first(count);
    return (vf)_mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
NK_INLINE void store_part(float* p, vf v, int count) { _mm256_maskstore_ps(p, first(count), (__m256)v); }

NK_INLINE vf fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
NK_INLINE vf fnma(vf a, vf b, vf c) { return (vf)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c); }
NK_INLINE vf max_keep(vf bound, vf x) { return (vf)_mm256_max_ps((__m256)bound, (__m256)x); }
NK_INLINE vf min_keep(vf bound, vf x) { return (vf)_mm256_min_ps((__m256)bound, (__m256)x); }
NK_INLINE vf number_or_lowest(vf x) { return (vf)_mm256_max_ps((__m256)x, _mm256_set1_ps(-0x1.fffffep127f)); }
NK_INLINE vf round_to_integer(vf x) {
    return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
NK_INLINE bool any_greater(vf a, vf b) {
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ)) != 0;
}
NK_INLINE bool any_nan(vf a) { return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)a, _CMP_UNORD_Q)) != 0; }

NK_INLINE __m128 fold_max(vf v) {
    return _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
}

typedef double vd __attribute__((vector_size(32)));
NK_INLINE vd low_doubles(vf v) { return (vd)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v)); }
NK_INLINE vd high_doubles(vf v) { return (vd)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1)); }
NK_INLINE __m256d four_lanes(vd d) { return (__m256d)d; }
NK_INLINE double sum_lanes(vd d) {
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128((__m256d)d), _mm256_extractf128_pd((__m256d)d, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

NK_INLINE __m256d halved_in_double(vf v) {
    const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
    return _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1)));
}

// Bits of 2^(j/8) less those of 1 and j << 20, for the low three bits j of each index; see exponential.hpp.
typedef __m256i native_int;
constexpr int TABLE_BITS = 3;
NK_INLINE native_int power_table(native_int index) {
    return _mm256_permutevar8x32_epi32(
        _mm256_setr_epi32(0, -289342, -509968, -655657, -719629, -694486, -572163, -343865), index);
}

// What rounding the entry took from it, relative to the entry.
NK_INLINE vf power_table_rest(native_int index) {
    return (vf)_mm256_permutevar8x32_ps(
        _mm256_setr_ps(0.0f, -1.19921575e-08f, 3.19341815e-08f, -3.09907193e-08f, 1.71142709e-08f, 5.23333421e-09f,
                       -1.47196051e-08f, -6.12825968e-09f),
        index);
}

// v 2^d for whole d <= 0: the sum leaves d + 127 in the low bits, the shift moves it into the exponent field.
NK_INLINE vf scale_by_power(vf v, vf d) {
    const vf field = max_keep(broadcast(-127.0f), d) + broadcast(0x1.8000FEp23f);
    return v * (vf)_mm256_slli_epi32((__m256i)field, 23);
}

NK_INLINE vf widen_f16(const void* p) { return (vf)_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
NK_INLINE void narrow_f16(void* p, vf v) {
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
}
NK_INLINE void stream_half(void* p, const void* from) {
    _mm_stream_si128(static_cast<__m128i*>(p), _mm_loadu_si128(static_cast<const __m128i*>(from)));
}

}  // namespace

#include "x86_fold.hpp"
