// The entry of one instruction set; compiled once for each (isa.hpp).
#include "table.hpp"

#include "isa.hpp"
#include "simd.hpp"

namespace {

#if defined(NORMKIT_AVX512)
constexpr const char* NAME = "avx512";
constexpr const char* DESCRIPTION = "AVX-512 F/BW/DQ/VL, 16 lanes (x86-64-v4)";
bool supported() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
#elif defined(NORMKIT_AVX2)
constexpr const char* NAME = "avx2";
constexpr const char* DESCRIPTION = "AVX2 + FMA + F16C, 8 lanes (x86-64-v3)";
bool supported() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
#elif defined(NORMKIT_NEON)
constexpr const char* NAME = "neon";
constexpr const char* DESCRIPTION = "AArch64 Advanced SIMD, 4 lanes";
bool supported() { return true; }
#else
constexpr const char* NAME = "portable";
constexpr const char* DESCRIPTION = "the compiler's baseline, 4 lanes, no fused multiply-add";
bool supported() { return true; }
#endif

}  // namespace

namespace normkit {

extern const SoftmaxKernels NORMKIT_FOR(softmax);
extern const CrossEntropyKernels NORMKIT_FOR(cross_entropy);
extern const NormKernels NORMKIT_FOR(norms);
extern const ColumnKernels NORMKIT_FOR(columns);
extern const PlanesKernels NORMKIT_FOR(planes);

extern const KernelTable NORMKIT_FOR(kernels);
const KernelTable NORMKIT_FOR(kernels) = {
    NAME,
    DESCRIPTION,
    supported,
    LANES,
    &NORMKIT_FOR(softmax),
    &NORMKIT_FOR(cross_entropy),
    &NORMKIT_FOR(norms),
    &NORMKIT_FOR(columns),
    &NORMKIT_FOR(planes),
};

}  // namespace normkit
