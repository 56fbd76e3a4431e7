// AVX-512 (x86-64-v4): 16 float32 lanes, hardware masks for the ends of rows.
#pragma once
#include <immintrin.h>

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "this file must be compiled for x86-64-v4"
#endif

namespace {

constexpr bool FUSED = true;  // a*b + c with one rounding
constexpr int LANES = 16;
typedef float vf __attribute__((vector_size(64)));

NK_INLINE __mmask16 first(int count) { return static_cast<__mmask16>((1u << count) - 1u); }

NK_INLINE vf broadcast(float s) { return (vf)_mm512_set1_ps(s); }
NK_INLINE vf load(const float* p) { return (vf)_mm512_loadu_ps(p); }
NK_INLINE void store(float* p, vf v) { _mm512_storeu_ps(p, (__m512)v); }
NK_INLINE void stream(float* p, vf v) { _mm512_stream_ps(p, (__m512)v); }
NK_INLINE void stream_fence() { _mm_sfence(); }
NK_INLINE vf load_part(const float* p, int count, float fill) {
    return (vf)_mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(count), p);
}
NK_INLINE void store_part(float* p, vf v, int count) { _mm512_mask_storeu_ps(p, first(count), (__m512)v); }

NK_INLINE vf fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
NK_INLINE vf fnma(vf a, vf b, vf c) { return (vf)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c); }
NK_INLINE vf max_keep(vf bound, vf x) { return (vf)_mm512_max_ps((__m512)bound, (__m512)x); }
NK_INLINE vf min_keep(vf bound, vf x) { return (vf)_mm512_min_ps((__m512)bound, (__m512)x); }
NK_INLINE vf number_or_lowest(vf x) { return (vf)_mm512_max_ps((__m512)x, _mm512_set1_ps(-0x1.fffffep127f)); }
NK_INLINE vf round_to_integer(vf x) {
    return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
NK_INLINE bool any_greater(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ) != 0; }
NK_INLINE bool any_nan(vf a) { return _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q) != 0; }

NK_INLINE __m128 fold_max(vf v) {
    const __m256 half = _mm256_max_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
    return _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

typedef double vd __attribute__((vector_size(64)));
NK_INLINE vd low_doubles(vf v) { return (vd)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v)); }
NK_INLINE vd high_doubles(vf v) { return (vd)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1)); }
NK_INLINE __m256d four_lanes(vd d) {
    return _mm256_add_pd(_mm512_castpd512_pd256((__m512d)d), _mm512_extractf64x4_pd((__m512d)d, 1));
}
NK_INLINE double sum_lanes(vd d) { return _mm512_reduce_add_pd((__m512d)d); }

NK_INLINE __m256d halved_in_double(vf v) {
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
    const __m512d sum = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1)));
    return _mm256_add_pd(_mm512_castpd512_pd256(sum), _mm512_extractf64x4_pd(sum, 1));
}

// Bits of 2^(j/16) less those of 1 and j << 19, for the low four bits j of each index; see exponential.hpp.
typedef __m512i native_int;
constexpr int TABLE_BITS = 4;
NK_INLINE native_int power_table(native_int index) {
    return _mm512_permutexvar_epi32(
        index, _mm512_setr_epi32(0, -152893, -289342, -408621, -509968, -592590, -655657, -698305, -719629, -718684,
                                 -694486, -646004, -572163, -471841, -343865, -187011));
}

// What rounding the entry took from it, relative to the entry.
NK_INLINE vf power_table_rest(native_int index) {
    return (vf)_mm512_permutexvar_ps(
        index, _mm512_setr_ps(0.0f, 4.62854715e-08f, -1.19921575e-08f, 4.72978243e-08f, 3.19341815e-08f,
                              3.62105723e-08f, -3.09907193e-08f, -7.47521334e-09f, 1.71142709e-08f, -3.04768335e-08f,
                              5.23333421e-09f, 6.10759177e-09f, -1.47196051e-08f, -5.25879518e-09f, -6.12825968e-09f,
                              5.14060927e-09f));
}

// v 2^d; the hardware rounds d down, saturates and needs no clamp.
NK_INLINE vf scale_by_power(vf v, vf d) { return (vf)_mm512_scalef_ps((__m512)v, (__m512)d); }

NK_INLINE vf widen_f16(const void* p) {
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
NK_INLINE void narrow_f16(void* p, vf v) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
}
NK_INLINE void stream_half(void* p, const void* from) {
    _mm256_stream_si256(static_cast<__m256i*>(p), _mm256_loadu_si256(static_cast<const __m256i*>(from)));
}

}  // namespace

#include "x86_fold.hpp"
