// Softmax of rows whose output will not be found in cache: exponentials go to scratch, and while the next row's are
// computed the last row's are multiplied and streamed out, so that reading, computing and writing overlap.
#pragma once
#include "long_rows.hpp"

namespace {

// A row in scratch on its way out.
template <class T>
struct DepartingRow {
    const float* e = nullptr;
    T* y = nullptr;
    int64_t n = 0, done = 0;
    Gain<true> gain{0.0};

    NK_INLINE void load_with(const float* exponentials, T* destination, int64_t count, double factor) {
        e = exponentials;
        y = destination;
        n = count;
        gain = Gain<true>(factor);
        done = smaller(unaligned_head(y), n);
        if (done > 0) store_part(y, gain(load_part(e, static_cast<int>(done), 0.0f)), static_cast<int>(done));
    }
    // One chunk further; called after each chunk of the next row.
    NK_INLINE void operator()() {
        if (n - done < CHUNK) return;
        const vf v0 = gain(load(e + done)), v1 = gain(load(e + done + LANES));
        const vf v2 = gain(load(e + done + 2 * LANES)), v3 = gain(load(e + done + 3 * LANES));
        stream(y + done, v0);
        stream(y + done + LANES, v1);
        stream(y + done + 2 * LANES, v2);
        stream(y + done + 3 * LANES, v3);
        done += CHUNK;
    }
    NK_INLINE void finish() {
        while (n - done >= CHUNK) (*this)();
        const float* rest = e + done;
        const Gain<true> g = gain;
        write_row(y + done, n - done, false,
                  [=](int64_t i, int count) { return g(load_up_to(rest + i, count, 0.0f)); });
        n = done = 0;
    }
};

// scratch: room for two rows.
template <class T, bool High>
void streamed_softmax_rows(const Job& job, int64_t begin, int64_t end, float* scratch) {
    DepartingRow<T> departing;
    for (int64_t row = begin; row < end; ++row) {
        float* e = scratch + (row - begin) % 2 * job.dim;
        Partial sum;
        sum_exponentials_beside<T, High, true>(row_a<T>(job, row), e, job.dim, sum, departing);
        departing.finish();
        if (!is_ordinary(sum)) {
            shifted_row<T, High>(job, row);
            continue;
        }
        const float factor = row_factor<T>(job, row);
        const double gain = static_cast<double>(factor) / sum.sum;
        if (sum.live == 1 && sum.dead_end == 0 && is_whole_gain(gain)) {
            departing.load_with(e, row_out<T>(job, row), job.dim, gain);
        } else {
            scale_segments(e, row_out<T>(job, row), job.dim, true, sum, sum, factor);
        }
    }
    departing.finish();
}

}  // namespace
