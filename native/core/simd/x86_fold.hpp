// The last steps of horizontal maxima and sums, from four lanes to one; shared by the x86 implementations.
#pragma once
#include <immintrin.h>

namespace {

NK_INLINE float horizontal_max(vf v) {
    __m128 m = fold_max(v);
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

NK_INLINE double horizontal_sum(vf v) {
    const __m256d four = halved_in_double(v);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

// Four vectors at once: a transposition in which every step halves what is left.
NK_INLINE four_floats horizontal_max(vf a, vf b, vf c, vf d) {
    const __m128 fa = fold_max(a), fb = fold_max(b), fc = fold_max(c), fd = fold_max(d);
    const __m128 ab = _mm_max_ps(_mm_unpacklo_ps(fa, fb), _mm_unpackhi_ps(fa, fb));
    const __m128 cd = _mm_max_ps(_mm_unpacklo_ps(fc, fd), _mm_unpackhi_ps(fc, fd));
    return (four_floats)_mm_max_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

NK_INLINE four_doubles sums_of_four(__m256d a, __m256d b, __m256d c, __m256d d) {
    const __m256d ab = _mm256_hadd_pd(a, b), cd = _mm256_hadd_pd(c, d);
    return (four_doubles)_mm256_add_pd(_mm256_permute2f128_pd(ab, cd, 0x20), _mm256_permute2f128_pd(ab, cd, 0x31));
}
NK_INLINE four_doubles horizontal_sum(vf a, vf b, vf c, vf d) {
    return sums_of_four(halved_in_double(a), halved_in_double(b), halved_in_double(c), halved_in_double(d));
}
NK_INLINE four_doubles sum_lanes(vd a, vd b, vd c, vd d) {
    return sums_of_four(four_lanes(a), four_lanes(b), four_lanes(c), four_lanes(d));
}

}  // namespace
