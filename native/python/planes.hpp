// The channel norms from Python: one function, whose arguments are the members of PlanesJob in their order.
#pragma once
#include "arguments.hpp"
#include "calls.hpp"
#include "planes/planes.hpp"

namespace {

// planes(operation, backward, statistics, denominator, storage, batch, channels, groups, size, eps, speed, x, dy, out,
//        moments, channel_moments, running_mean, running_var, weight, bias, v, bn_weight, bn_bias, and the gradients
//        of the last five, threads)
PyObject* py_planes(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 29, "planes");
    PlanesJob job = {};
    const int64_t operation = arguments.number();
    job.backward = arguments.number() != 0;
    const int64_t statistics = arguments.number(), denominator = arguments.number(), storage = arguments.number();
    int64_t* const sizes[] = {&job.batch, &job.channels, &job.groups, &job.size};
    for (int64_t* size : sizes) *size = arguments.number();
    job.eps = arguments.real();
    job.speed = arguments.real();
    job.x = arguments.address<const void>();
    job.dy = arguments.address<const void>();
    job.out = arguments.address<void>();
    job.moments = arguments.address<double>();
    job.channel_moments = arguments.address<double>();
    job.running_mean = arguments.address<float>();
    job.running_var = arguments.address<float>();
    const float** const parameters[] = {&job.weight, &job.bias, &job.v, &job.bn_weight, &job.bn_bias};
    for (const float** parameter : parameters) *parameter = arguments.address<const float>();
    float** const gradients[] = {&job.weight_gradient, &job.bias_gradient, &job.v_gradient, &job.bn_weight_gradient,
                                 &job.bn_bias_gradient};
    for (float** gradient : gradients) *gradient = arguments.address<float>();
    const int64_t threads = arguments.number();
    if (arguments.failed()) return nullptr;
    if (operation < 0 || operation >= PLANES_OPERATIONS || statistics < 0 || statistics >= CHANNEL_STATISTICS ||
        denominator < 0 || denominator >= DENOMINATORS || storage < 0 || storage >= STORAGES) {
        PyErr_SetString(PyExc_ValueError, "planes: unknown operation, statistics, denominator or storage");
        return nullptr;
    }
    job.operation = static_cast<PlanesOperation>(operation);
    job.statistics = static_cast<ChannelStatistics>(statistics);
    job.denominator = static_cast<Denominator>(denominator);
    job.storage = static_cast<Storage>(storage);
    return outcome_of(job.batch * job.channels * job.size, [&] { return run(job, static_cast<int>(threads)); });
}

}  // namespace
