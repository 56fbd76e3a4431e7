// The channel norms from Python: one function whose arguments are the members of PlanesJob in their order, and one that
// takes tensors, for the commonest call.
#pragma once
#include "arguments.hpp"
#include "calls.hpp"
#include "norms.hpp"
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

// Planes of so few elements in a tensor of more than so many are torch's: `normkit bench group_norm`. Python reads them.
constexpr int64_t TINY_PLANE = 9, MANY_PLANES = 8 << 10;

// group_norm_rows(x, groups, weight, bias, eps, out) -> y, or None where these are not plainly a dense tensor (batch,
// channels, ...) of a float type on the CPU, a count that divides its channels, and float32 parameters of one value for
// each. Nothing is recorded by autograd. An `out` must have the shape of x.
PyObject* py_group_norm_rows(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 6) return PyErr_Format(PyExc_TypeError, "group_norm_rows takes 6 arguments, got %zd", count);
    PyObject *x = given[0], *out = given[5];
    PlanesJob job = {};
    job.operation = GROUP_NORM;
    job.groups = PyLong_AsLongLong(given[1]);
    job.eps = PyFloat_AsDouble(given[4]);
    if (PyErr_Occurred()) return nullptr;
    DenseRows rows, fresh;
    DlpackTensor view;
    bool failed = !torch.view || !is_tensor(x) || !(job.eps >= 0.0) || job.groups < 1;
    failed = failed || is_watched() || !dense_rows(torch.view, x, rows, 1);
    failed = failed || torch.view(x, &view) != 0;
    if (!failed) {
        job.batch = rows.count;
        job.channels = rows.size;
        job.size = rows.inner;
        failed = view.ndim < 2 || job.channels % job.groups != 0 || job.channels / job.groups * job.size == 1 ||
                 (job.size <= TINY_PLANE && rows.elements() > MANY_PLANES);
    }
    if (!failed) job.weight = row_parameter(given[2], job.channels, failed);
    if (!failed) job.bias = row_parameter(given[3], job.channels, failed);
    if (!failed && out != Py_None) {
        failed = !is_plain(out) || !dense_rows(torch.view, out, fresh, 1) || !can_take(SOFTMAX, rows, fresh) ||
                 overlaps(job.weight, job.channels, fresh) || overlaps(job.bias, job.channels, fresh);
    }
    if (failed) {
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }
    PyObject* y = out;
    if (out == Py_None) {
        y = fresh_rows(SOFTMAX, x, rows, fresh, 1);
    } else {
        Py_INCREF(out);
    }
    if (!y && PyErr_Occurred()) return nullptr;
    if (!y) Py_RETURN_NONE;
    job.storage = rows.storage;
    job.x = rows.data;
    job.out = fresh.data;
    const long threads = threads_of(rows.elements());
    PyObject* done = nullptr;
    if (threads >= 0) done = outcome_of(rows.elements(), [&] { return run(job, static_cast<int>(threads)); });
    if (!done) {
        Py_DECREF(y);
        return nullptr;
    }
    Py_DECREF(done);
    return y;
}

}  // namespace
