// The three functions that the channel norms apply to a plane, and their gradients; formulas in job.hpp. `gradient`
// takes the same roundings as what `add` returns, so that it does not matter which of the two is used.
#pragma once
#include "exponential.hpp"
#include "job.hpp"

namespace {

using normkit::Curve;

struct AffineCurve {
    static constexpr int SUMS = 2;
    vf scale, shift, centre, slope;
    explicit AffineCurve(const Curve& c)
        : scale(broadcast(c.scale)),
          shift(broadcast(c.shift)),
          centre(broadcast(c.centre)),
          slope(broadcast(c.slope)) {}
    NK_INLINE vf value(vf x) const { return fma(x - centre, scale, shift); }
    NK_INLINE vf add(vf x, vf dy, vf* sums) const {
        sums[0] += dy;
        sums[1] = fma(dy, x - centre, sums[1]);
        return dy;
    }
    NK_INLINE vf gradient(vf x, vf dy) const { return fma(scale, dy, fma(x - centre, slope, shift)); }
};

// 1 / (1 + e^-z). From z = -88 down it stays at e^-88, the smallest that e^-z without overflow allows.
NK_INLINE vf sigmoid(vf z) {
    const vf e = exponential<false>(min_keep(broadcast(88.0f), -z), reference_at(0.0f));
    return 1.0f / (1.0f + e);
}

struct SwishCurve {
    static constexpr int SUMS = 3;
    vf scale, shift, centre, slope, v;
    explicit SwishCurve(const Curve& c)
        : scale(broadcast(c.scale)), shift(broadcast(c.shift)), centre(broadcast(c.centre)), slope(broadcast(c.slope)),
          v(broadcast(c.v)) {}
    NK_INLINE vf value(vf x) const { return fma(x * sigmoid(v * x), scale, shift); }
    // Adds the terms of the sums; returns dy (x σ(v x))'.
    NK_INLINE vf add(vf x, vf dy, vf* sums) const {
        const vf s = sigmoid(v * x), swish = x * s, rest = x - swish, u = dy * swish;
        sums[0] += dy;
        sums[1] += u;
        sums[2] = fma(u, rest, sums[2]);
        return dy * fma(v * s, rest, s);
    }
    NK_INLINE vf gradient(vf x, vf dy) const {
        const vf s = sigmoid(v * x), rest = x - x * s;
        return fma(scale, dy * fma(v * s, rest, s), fma(x - centre, slope, shift));
    }
};

struct LargerCurve {
    static constexpr int SUMS = 5;
    vf scale, shift, centre, slope, v, instance, batch;
    explicit LargerCurve(const Curve& c)
        : scale(broadcast(c.scale)), shift(broadcast(c.shift)), centre(broadcast(c.centre)), slope(broadcast(c.slope)),
          v(broadcast(c.v)), instance(broadcast(c.instance)), batch(broadcast(c.batch)) {}
    NK_INLINE vf left(vf x) const { return fma(v, x, instance); }
    NK_INLINE vf is_left(vf l) const {
        return where((vi)(l > batch), broadcast(1.0f), where((vi)(l == batch), broadcast(0.5f), vf{}));
    }
    NK_INLINE vf value(vf x) const { return fma(x / max_keep(batch, left(x)), scale, shift); }
    // Adds the terms of the sums; returns dy (1/d - [d is left of x] v x / d^2).
    NK_INLINE vf add(vf x, vf dy, vf* sums) const {
        const vf l = left(x), inverse = 1.0f / max_keep(batch, l);
        const vf u = dy * (x * inverse), e = u * inverse, e_left = e * is_left(l);
        sums[0] += dy;
        sums[1] += u;
        sums[2] += e_left;
        sums[3] += e - e_left;
        sums[4] = fma(e_left, x, sums[4]);
        return fnma(e_left, v, dy * inverse);
    }
    NK_INLINE vf gradient(vf x, vf dy) const {
        const vf l = left(x), inverse = 1.0f / max_keep(batch, l);
        const vf e_left = dy * (x * inverse) * inverse * is_left(l);
        return fma(scale, fnma(e_left, v, dy * inverse), fma(x - centre, slope, shift));
    }
};

}  // namespace
