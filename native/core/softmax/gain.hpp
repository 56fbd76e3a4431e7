// The factor by which kept exponentials become probabilities, and sums that do not spoil it.
#pragma once
#include "logarithm.hpp"

namespace {

typedef Doubles<LANES>::type lane_doubles;

NK_INLINE lane_doubles to_doubles(vf v) { return __builtin_convertvector(v, lane_doubles); }
NK_INLINE vf to_floats(lane_doubles d) { return __builtin_convertvector(d, vf); }

NK_INLINE double horizontal_sum(lane_doubles d) {
    const vf high = to_floats(d);
    return horizontal_sum(high) + horizontal_sum(to_floats(d - to_doubles(high)));
}

// Sums of vectors lane by lane, in double.
struct WideSums {
    vd low = {}, high = {};

    NK_INLINE void operator+=(vf v) {
        low += low_doubles(v);
        high += high_doubles(v);
    }
    NK_INLINE void operator*=(double factor) {
        low *= factor;
        high *= factor;
    }
    NK_INLINE vd halved() const { return low + high; }
    NK_INLINE double total() const { return sum_lanes(halved()); }
};

// e times a factor; in two parts where that costs nothing (the multiplying pass waits for memory) or accuracy is asked
// for, so that only the product is rounded.
template <bool TwoParts>
struct Gain {
    vf high, low;

    NK_INLINE explicit Gain(double factor) : high(broadcast(static_cast<float>(factor))), low(vf{}) {
        if (TwoParts) low = broadcast(rest_of(factor));
    }
    NK_INLINE explicit Gain(lane_doubles factor) : high(to_floats(factor)), low(vf{}) {
        if (TwoParts) low = to_floats(factor - to_doubles(high));
    }
    NK_INLINE Gain(vf h, vf l) : high(h), low(l) {}
    NK_INLINE vf operator()(vf e) const { return TwoParts ? fma(e, high, e * low) : e * high; }

private:
    static NK_INLINE float rest_of(double factor) {
        return static_cast<float>(factor - static_cast<double>(static_cast<float>(factor)));
    }
};

}  // namespace
