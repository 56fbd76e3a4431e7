// One call of a channel norm: what is read first, what follows from it for each plane, what is written.
//
// An item is what has statistics of its own and lies together in memory: a group of one sample, a plane, a filter.
#pragma once
#include <math.h>
#include <stddef.h>

#include "job.hpp"

namespace normkit {

class Layer {
public:
    Layer(const PlanesJob& job, const PlanesKernels& kernels, CurveKind kind, int64_t items)
        : job_(job), kernels_(kernels), kind_(kind), items_(items), planes_(job.batch * job.channels),
          planes_per_item_(planes_ / items) {}
    virtual ~Layer() = default;

    // Before anything is read.
    virtual void begin() {}
    // Whether the coefficients of a sample's item depend on the same item of the other samples.
    virtual bool coupled() const { return false; }
    // The first read of items [begin, end).
    void reduce(int64_t begin, int64_t end);
    // The coefficients of an item's planes, from its own numbers.
    virtual void fold(int64_t item) = 0;
    // The coefficients of items [begin, end) of all samples, each of which has been read; where they are coupled.
    virtual void couple(int64_t begin, int64_t end);
    // The second read of items [begin, end), and the result.
    void write(int64_t begin, int64_t end);
    // Parameter gradients, summed over the batch in its order.
    virtual void finish() {}

    int64_t items() const { return items_; }
    int64_t items_per_sample() const { return items_ / job_.batch; }

    // Memory for the coefficients, the sums and the moments of one call.
    static size_t floats_needed(const PlanesJob& job);
    void use(float* scratch, bool stream);

protected:
    // Forward: whether moments are those of planes though items are groups of several.
    virtual bool by_plane() const { return false; }
    // Backward: what `sum` needs to know of the planes of an item before it reads them.
    virtual void before_sums(int64_t item) = 0;

    // Whether the first read of a backward pass leaves its half of dx where dx will be, rather than have the second
    // compute it again: the half is still in the cache then, and loses no digits.
    bool keeps() const {
        return kind_ != AFFINE && job_.storage == FLOAT32 && job_.out != job_.x && job_.out != job_.dy &&
               !stream_ && planes_per_item_ * job_.size * (coupled() ? job_.batch : 1) <= LARGEST_KEPT;
    }
    static constexpr int64_t LARGEST_KEPT = 8 << 10;  // elements between the two reads: 32 KiB of x, of dy and of dx

    double per_item() const { return static_cast<double>(planes_per_item_ * job_.size); }
    double mean(int64_t row) const { return mean_[row]; }
    double square(int64_t row) const { return square_[row]; }
    // Visits the planes of an item, each with its channel.
    template <class Visit>
    void for_planes(int64_t item, Visit visit) const {
        const int64_t first = item * planes_per_item_, channel = first % job_.channels;
        for (int64_t k = 0; k < planes_per_item_; ++k) visit(first + k, channel + k);
    }
    // Sum over the batch of term(plane) for one channel.
    template <class Term>
    double over_batch(int64_t channel, Term term) const {
        double sum = 0.0;
        for (int64_t plane = channel; plane < planes_; plane += job_.channels) sum += term(plane);
        return sum;
    }

    const PlanesJob job_;
    const PlanesKernels& kernels_;
    const CurveKind kind_;
    const int64_t items_, planes_, planes_per_item_;
    bool stream_ = false;  // non-temporal stores
    Curve* curves_ = nullptr;
    PlaneSums* sums_ = nullptr;
    double* mean_ = nullptr;
    double* square_ = nullptr;
    double* channel_moments_ = nullptr;  // mean, then variance, of each channel
    double* channel_gain_ = nullptr;     // one number of each channel that its planes have in common
};

inline double parameter(const float* values, int64_t i, double otherwise) {
    return values ? static_cast<double>(values[i]) : otherwise;
}

// running ← (1 - speed) running + speed value
inline void follow(float& running, double value, double speed) {
    running = static_cast<float>(running + speed * (value - running));
}

}  // namespace normkit
