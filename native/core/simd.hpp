// One vector vocabulary for the kernels, an implementation of it per instruction set.
//
// The kernels are written with the compiler's vector extensions (+, -, *, shifts and casts work on `vf` as on
// float); this header adds the dozen operations that those lack. Everything lives in an anonymous namespace:
// each instruction set's object file must keep its own copy, or the linker could hand the AVX-512 one to all.
//
// Sums across lanes are taken in double: each rounding there would otherwise show in every element of a row.
// `vd` holds the doubles of half a `vf`.
// `max_keep(bound, x)` and `min_keep(bound, x)` return x where x is NaN, so that a NaN reaches the sums;
// `number_or_lowest(x)` is x, or the lowest number for NaN.
#pragma once
#include <stdint.h>
#include <string.h>

#define NK_INLINE inline __attribute__((always_inline))

namespace {

typedef float four_floats __attribute__((vector_size(16)));
typedef double four_doubles __attribute__((vector_size(32)));

}  // namespace

#if defined(NORMKIT_AVX512)
#include "simd/avx512.hpp"
#elif defined(NORMKIT_AVX2)
#include "simd/avx2.hpp"
#elif defined(NORMKIT_NEON)
#include "simd/neon.hpp"
#else
#include "simd/portable.hpp"
#endif

namespace {

typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * LANES)));

constexpr float MINUS_INFINITY = -__builtin_inff();

NK_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }

// The value in every lane that `chosen` marks, `other` in the rest.
NK_INLINE vf where(vi chosen, vf value, vf other) { return (vf)(((vi)value & chosen) | ((vi)other & ~chosen)); }

}  // namespace
