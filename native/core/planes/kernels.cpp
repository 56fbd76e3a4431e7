// The channel norms' kernels for one instruction set (isa.hpp); all but the table has internal linkage.
#include "job.hpp"
#include "isa.hpp"

#include "curves.hpp"
#include "moments.hpp"

namespace {

using namespace normkit;

template <class T>
void moments(const void* x, int64_t begin, int64_t end, int64_t length, double* mean, double* square) {
    int64_t row = begin;
    if (length <= FIRST_BLOCK) {
        for (; end - row >= 4; row += 4, mean += 4, square += 4) {
            four_moments(static_cast<const T*>(x) + row * length, length, mean, square);
        }
    }
    for (; row < end; ++row) {
        const Moments found = row_moments(static_cast<const T*>(x) + row * length, length);
        *mean++ = found.mean;
        *square++ = found.square;
    }
}

template <class F, class T>
void write(const void* x, void* y, int64_t begin, int64_t end, int64_t size, const Curve* curves, bool stream) {
    for (int64_t plane = begin; plane < end; ++plane) {
        const F curve(*curves++);
        const T* from = static_cast<const T*>(x) + plane * size;
        write_row(static_cast<T*>(y) + plane * size, size, stream,
                  [&](int64_t i, int c) { return curve.value(load_up_to(from + i, c, 0.0f)); });
    }
    if (stream) stream_fence();
}

// The sums of at most BLOCK elements of a plane, lane by lane. Lanes beyond the end have dy = 0, and with it every
// term; x = 0 there keeps the terms finite.
template <bool Keep, class F, class T>
NK_INLINE void add_block(const F& curve, const T* x, const T* dy, T* kept, int64_t size, vf* sums) {
    vf second[F::SUMS] = {};
    int64_t i = 0;
    for (; size - i >= 2 * LANES; i += 2 * LANES) {
        const vf v0 = curve.add(load(x + i), load(dy + i), sums);
        const vf v1 = curve.add(load(x + i + LANES), load(dy + i + LANES), second);
        if (Keep) store(kept + i, v0);
        if (Keep) store(kept + i + LANES, v1);
    }
    for (; i < size; i += LANES) {
        const int count = part(size - i);
        const vf v0 = curve.add(load_up_to(x + i, count, 0.0f), load_up_to(dy + i, count, 0.0f), sums);
        if (Keep) store_up_to(kept + i, v0, count);
    }
    for (int k = 0; k < F::SUMS; ++k) sums[k] += second[k];
}

template <bool Keep, class F, class T>
NK_INLINE void add_plane(const F& curve, const T* x, const T* dy, T* kept, int64_t size, double* sums) {
    for (int64_t i = 0; i < size; i += BLOCK) {
        vf lanes[F::SUMS < 4 ? 4 : F::SUMS] = {};
        add_block<Keep>(curve, x + i, dy + i, Keep ? kept + i : nullptr, smaller(BLOCK, size - i), lanes);
        if (F::SUMS == 2) {
            for (int k = 0; k < 2; ++k) sums[k] += horizontal_sum(lanes[k]);
            continue;
        }
        const four_doubles found = horizontal_sum(lanes[0], lanes[1], lanes[2], lanes[3]);
        for (int k = 0; k < 4 && k < F::SUMS; ++k) sums[k] += found[k];
        if (F::SUMS > 4) sums[4] += horizontal_sum(lanes[F::SUMS - 1]);
    }
}

// Two planes of at most BLOCK elements with two sums each: those across lanes are taken together.
template <class F, class T>
NK_INLINE void add_two_planes(const Curve* curves, const T* x, const T* dy, int64_t size, PlaneSums* sums) {
    vf lanes[4] = {};
    add_block<false>(F(curves[0]), x, dy, static_cast<T*>(nullptr), size, lanes);
    add_block<false>(F(curves[1]), x + size, dy + size, static_cast<T*>(nullptr), size, lanes + 2);
    const four_doubles found = horizontal_sum(lanes[0], lanes[1], lanes[2], lanes[3]);
    sums[0].of[0] = found[0];
    sums[0].of[1] = found[1];
    sums[1].of[0] = found[2];
    sums[1].of[1] = found[3];
}

template <class F, class T>
void sum(const void* x, const void* dy, int64_t begin, int64_t end, int64_t size, const Curve* curves,
         PlaneSums* sums) {
    const T* at = static_cast<const T*>(x) + begin * size;
    const T* by = static_cast<const T*>(dy) + begin * size;
    int64_t left = end - begin;
    if (F::SUMS == 2 && size <= BLOCK) {
        for (; left >= 2; left -= 2, curves += 2, sums += 2, at += 2 * size, by += 2 * size) {
            add_two_planes<F>(curves, at, by, size, sums);
        }
    }
    for (; left > 0; --left, ++curves, ++sums, at += size, by += size) {
        *sums = {};
        add_plane<false>(F(*curves), at, by, static_cast<T*>(nullptr), size, sums->of);
    }
}

template <class F>
void sum_and_keep(const void* x, const void* dy, void* kept, int64_t begin, int64_t end, int64_t size,
                  const Curve* curves, PlaneSums* sums) {
    for (int64_t plane = begin; plane < end; ++plane, ++curves, ++sums) {
        *sums = {};
        add_plane<true>(F(*curves), static_cast<const float*>(x) + plane * size,
                        static_cast<const float*>(dy) + plane * size, static_cast<float*>(kept) + plane * size, size,
                        sums->of);
    }
}

template <class F, class T>
void pull(const void* x, const void* dy, void* dx, int64_t begin, int64_t end, int64_t size, const Curve* curves,
          bool stream) {
    for (int64_t plane = begin; plane < end; ++plane) {
        const F curve(*curves++);
        const T* at = static_cast<const T*>(x) + plane * size;
        const T* by = static_cast<const T*>(dy) + plane * size;
        write_row(static_cast<T*>(dx) + plane * size, size, stream, [&](int64_t i, int c) {
            return curve.gradient(load_up_to(at + i, c, 0.0f), load_up_to(by + i, c, 0.0f));
        });
    }
    if (stream) stream_fence();
}

}  // namespace

namespace normkit {

#define NORMKIT_EACH_STORAGE(kernel, F) {kernel<F, float>, kernel<F, bf16>, kernel<F, f16>}
#define NORMKIT_EACH_CURVE(kernel) \
    {NORMKIT_EACH_STORAGE(kernel, AffineCurve), NORMKIT_EACH_STORAGE(kernel, SwishCurve), \
     NORMKIT_EACH_STORAGE(kernel, LargerCurve)}

extern const PlanesKernels NORMKIT_FOR(planes);
const PlanesKernels NORMKIT_FOR(planes) = {
    {moments<float>, moments<bf16>, moments<f16>},
    NORMKIT_EACH_CURVE(write),
    NORMKIT_EACH_CURVE(sum),
    {sum_and_keep<AffineCurve>, sum_and_keep<SwishCurve>, sum_and_keep<LargerCurve>},
    NORMKIT_EACH_CURVE(pull),
};

}  // namespace normkit
