// The factor by which kept exponentials become probabilities, and sums that do not spoil it.
#pragma once
#include "logarithm.hpp"

namespace {

typedef Doubles<LANES>::type lane_doubles;

NK_INLINE lane_doubles to_doubles(vf v) { return __builtin_convertvector(v, lane_doubles); }
NK_INLINE vf to_floats(lane_doubles d) { return __builtin_convertvector(d, vf); }

NK_INLINE double horizontal_sum(lane_doubles d) {
    double sum = 0.0;
    for (int lane = 0; lane < LANES; ++lane) sum += d[lane];
    return sum;
}

// e times a factor; where accuracy is asked for in two parts, so that only the product is rounded.
template <bool High>
struct Gain {
    vf high, low;

    NK_INLINE explicit Gain(double factor) : high(broadcast(static_cast<float>(factor))), low(vf{}) {
        if (High) low = broadcast(rest_of(factor));
    }
    NK_INLINE explicit Gain(lane_doubles factor) : high(to_floats(factor)), low(vf{}) {
        if (High) low = to_floats(factor - to_doubles(high));
    }
    NK_INLINE vf operator()(vf e) const { return High ? fma(e, high, e * low) : e * high; }

private:
    static NK_INLINE float rest_of(double factor) {
        return static_cast<float>(factor - static_cast<double>(static_cast<float>(factor)));
    }
};

}  // namespace
