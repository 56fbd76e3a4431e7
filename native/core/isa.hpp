// Files that include this are compiled once for each instruction set, with NORMKIT_PORTABLE, NORMKIT_AVX2,
// NORMKIT_AVX512 or NORMKIT_NEON defined. NORMKIT_FOR(softmax) names that set's own table: softmax_avx512.
#pragma once

#if defined(NORMKIT_AVX512)
#define NORMKIT_FOR(family) family##_avx512
#elif defined(NORMKIT_AVX2)
#define NORMKIT_FOR(family) family##_avx2
#elif defined(NORMKIT_NEON)
#define NORMKIT_FOR(family) family##_neon
#else
#define NORMKIT_FOR(family) family##_portable
#endif
