#include "layer.hpp"

namespace normkit {
namespace {

constexpr size_t LINE = 16;  // floats of a cache line: each part of the scratch starts on one

size_t up_to_line(size_t floats) { return (floats + LINE - 1) / LINE * LINE; }

size_t curve_floats(const PlanesJob& job) {
    return up_to_line(static_cast<size_t>(job.batch * job.channels) * sizeof(Curve) / sizeof(float));
}
size_t sum_floats(const PlanesJob& job) {
    return up_to_line(static_cast<size_t>(job.batch * job.channels) * sizeof(PlaneSums) / sizeof(float));
}
size_t moment_floats(const PlanesJob& job) {
    return up_to_line(static_cast<size_t>(job.batch * job.channels) * 2 * sizeof(double) / sizeof(float));
}

size_t channel_floats(const PlanesJob& job) {
    return up_to_line(static_cast<size_t>(job.channels) * 3 * sizeof(double) / sizeof(float));
}

}  // namespace

size_t Layer::floats_needed(const PlanesJob& job) {
    return curve_floats(job) + channel_floats(job) + (job.backward ? sum_floats(job) : moment_floats(job));
}

void Layer::use(float* scratch, bool stream) {
    stream_ = stream;
    curves_ = reinterpret_cast<Curve*>(scratch);
    double* of_channels = reinterpret_cast<double*>(scratch + curve_floats(job_));
    channel_gain_ = of_channels + 2 * job_.channels;
    channel_moments_ = job_.channel_moments ? job_.channel_moments : of_channels;
    double* rest = reinterpret_cast<double*>(scratch + curve_floats(job_) + channel_floats(job_));
    if (job_.backward) sums_ = reinterpret_cast<PlaneSums*>(rest);
    mean_ = job_.moments ? job_.moments : rest;
    square_ = mean_ + (by_plane() ? planes_ : items_);
}

void Layer::reduce(int64_t begin, int64_t end) {
    const int64_t first = begin * planes_per_item_, last = end * planes_per_item_;
    if (job_.backward) {
        for (int64_t item = begin; item < end; ++item) before_sums(item);
        if (keeps()) {
            return kernels_.sum_and_keep[kind_](job_.x, job_.dy, job_.out, first, last, job_.size, curves_ + first,
                                                sums_ + first);
        }
        kernels_.sum[kind_][job_.storage](job_.x, job_.dy, first, last, job_.size, curves_ + first, sums_ + first);
    } else if (by_plane()) {
        kernels_.moments[job_.storage](job_.x, first, last, job_.size, mean_ + first, square_ + first);
    } else {
        kernels_.moments[job_.storage](job_.x, begin, end, planes_per_item_ * job_.size, mean_ + begin,
                                       square_ + begin);
    }
}

void Layer::couple(int64_t begin, int64_t end) {
    for (int64_t sample = 0; sample < job_.batch; ++sample) {
        for (int64_t item = begin; item < end; ++item) fold(sample * items_per_sample() + item);
    }
}

void Layer::write(int64_t begin, int64_t end) {
    const int64_t first = begin * planes_per_item_, last = end * planes_per_item_;
    if (job_.backward && keeps()) {
        kernels_.pull[AFFINE][FLOAT32](job_.x, job_.out, job_.out, first, last, job_.size, curves_ + first, stream_);
    } else if (job_.backward) {
        kernels_.pull[kind_][job_.storage](job_.x, job_.dy, job_.out, first, last, job_.size, curves_ + first, stream_);
    } else {
        kernels_.write[kind_][job_.storage](job_.x, job_.out, first, last, job_.size, curves_ + first, stream_);
    }
}

}  // namespace normkit
