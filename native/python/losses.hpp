// Cross-entropy from Python, on addresses given as integers.
#pragma once
#include "arguments.hpp"
#include "calls.hpp"

#include "cross_entropy/cross_entropy.hpp"

namespace {

// What forward and backward have in common: x, target, weight, pair, storage, rows, classes, stride, ignore_index.
// `pair`: 2 x rows floats, mantissas and then exponents.
CrossEntropyJob loss_job(Arguments& arguments) {
    CrossEntropyJob job = {};
    job.x = arguments.address<const void>();
    job.target = arguments.address<const int64_t>();
    job.weight = arguments.address<const float>();
    job.mantissa = arguments.address<float>();
    const int64_t storage = arguments.number();
    job.storage = storage >= 0 && storage < STORAGES ? static_cast<Storage>(storage) : STORAGES;
    job.rows = arguments.number();
    job.classes = arguments.number();
    job.stride = arguments.number();
    job.ignore_index = arguments.number();
    job.exponent = job.mantissa + job.rows;
    return job;
}

bool is_known(const CrossEntropyJob& job, int64_t reduction) {
    if (job.storage != STORAGES && reduction >= 0 && reduction < REDUCTIONS) return true;
    PyErr_SetString(PyExc_ValueError, "cross_entropy: unknown storage or reduction");
    return false;
}

// cross_entropy(x, target, weight, pair, storage, rows, classes, stride, ignore_index, smoothing, reduction, losses,
//               reduced, threads)
PyObject* py_cross_entropy(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 14, "cross_entropy");
    CrossEntropyJob job = loss_job(arguments);
    job.smoothing = arguments.real();
    const int64_t reduction = arguments.number();
    job.loss = arguments.address<float>();
    float* reduced = arguments.address<float>();
    const int64_t threads = arguments.number();
    if (arguments.failed() || !is_known(job, reduction)) return nullptr;
    return outcome_of(job.rows * job.classes, [&] {
        return cross_entropy(job, static_cast<Reduction>(reduction), reduced, static_cast<int>(threads));
    });
}

// cross_entropy_backward(x, target, weight, pair, storage, rows, classes, stride, ignore_index, smoothing, reduction,
//                        grad, grad_stride, dx, threads)
PyObject* py_cross_entropy_backward(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 15, "cross_entropy_backward");
    CrossEntropyJob job = loss_job(arguments);
    job.smoothing = arguments.real();
    const int64_t reduction = arguments.number();
    job.grad = arguments.address<const float>();
    job.grad_stride = arguments.number();
    job.dx = arguments.address<void>();
    const int64_t threads = arguments.number();
    if (arguments.failed() || !is_known(job, reduction)) return nullptr;
    return outcome_of(job.rows * job.classes, [&] {
        return cross_entropy_backward(job, static_cast<Reduction>(reduction), static_cast<int>(threads));
    });
}

}  // namespace
