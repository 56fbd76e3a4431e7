// The last steps of a horizontal maximum or sum, from four lanes to one; shared by the x86 implementations.
#pragma once
#include <immintrin.h>

namespace {

NK_INLINE float horizontal_max(vf v) {
    __m128 m = fold_max(v);
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}

NK_INLINE float horizontal_sum(vf v) {
    __m128 s = fold_sum(v);
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

}  // namespace
