// A statistic of a batch, as it is kept.
#pragma once

namespace normkit {

// The number in float32; NaN where that is infinite, by which every finite number would silently become 0.
inline float or_nan(double number) {
    const float value = static_cast<float>(number);
    return value + (value - value);
}

}  // namespace normkit
