// Numbers of the core's tests in poisoned memory, in every type that the core stores.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>

#include "guarded.hpp"
#include "table.hpp"

namespace {

// `bytes` of memory, all ones (a NaN in every format), against the upper or the lower of two pages that may not be
// touched.
class Poisoned {
public:
    Poisoned(int64_t bytes, bool at_end)
        : memory_(static_cast<size_t>(bytes + 3) / 4, at_end), start_(reinterpret_cast<char*>(memory_.get())) {
        if (at_end) start_ += (4 - bytes % 4) % 4;
        std::memset(start_, 0xff, static_cast<size_t>(bytes));
    }
    void* get() const { return start_; }
    float* floats() const { return reinterpret_cast<float*>(start_); }

private:
    Guarded memory_;
    char* start_;
};

// Numbers with few binary digits, so that every storage holds them exactly: what is tested is the arithmetic.
[[maybe_unused]] void fill(void* to, Storage storage, int64_t n, unsigned seed, double centre = 0.0) {
    std::mt19937 draw(seed);
    std::uniform_int_distribution<int> sixteenths(-40, 40);
    for (int64_t i = 0; i < n; ++i) {
        const float value = static_cast<float>(centre + sixteenths(draw) / 16.0);
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        if (storage == FLOAT32) static_cast<float*>(to)[i] = value;
        if (storage == BFLOAT16) static_cast<uint16_t*>(to)[i] = static_cast<uint16_t>(bits >> 16);
        if (storage == FLOAT16) {
            const uint32_t exponent = bits >> 23 & 0xff;
            const uint32_t half = exponent ? (exponent - 112) << 10 | (bits >> 13 & 0x3ff) : 0;
            static_cast<uint16_t*>(to)[i] = static_cast<uint16_t>((bits >> 16 & 0x8000) | half);
        }
    }
}

[[maybe_unused]] double at(const void* from, Storage storage, int64_t i) {
    if (storage == FLOAT32) return static_cast<const float*>(from)[i];
    const uint16_t half = static_cast<const uint16_t*>(from)[i];
    if (storage == BFLOAT16) {
        const uint32_t bits = static_cast<uint32_t>(half) << 16;
        float value;
        std::memcpy(&value, &bits, 4);
        return value;
    }
    const int exponent = half >> 10 & 31;
    const double fraction = half & 0x3ff, sign = half & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31) return fraction != 0.0 ? std::numeric_limits<double>::quiet_NaN() : sign * HUGE_VAL;
    if (exponent == 0) return sign * std::ldexp(fraction, -24);
    return sign * std::ldexp(1024.0 + fraction, exponent - 25);
}

// Half a unit in the last place of the storage, relative.
[[maybe_unused]] double rounding(Storage storage) { return storage == FLOAT32 ? 0.0 : storage == BFLOAT16 ? 0x1p-8 : 0x1p-11; }

}  // namespace
