// The row norms from Python: two functions, whose arguments are the members of NormJob and NormGradient.
#pragma once
#include "arguments.hpp"
#include "calls.hpp"
#include "norms/norms.hpp"

namespace {

bool is_norm(int64_t operation, int64_t storage) {
    if (operation >= 0 && operation < NORM_OPERATIONS && storage >= 0 && storage < STORAGES) return true;
    PyErr_SetString(PyExc_ValueError, "norm: unknown operation or storage");
    return false;
}

// norm(operation, storage, x, residual, sum, y, weight, bias, scales, rows, dim, x_stride, eps, offset, round_first,
//      threads); scales: 3 float32 a row
PyObject* py_norm(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 16, "norm");
    NormJob job = {};
    const int64_t operation = arguments.number(), storage = arguments.number();
    job.x = arguments.address<const void>();
    job.residual = arguments.address<const void>();
    job.sum = arguments.address<void>();
    job.y = arguments.address<void>();
    job.weight = arguments.address<const float>();
    job.bias = arguments.address<const float>();
    job.scales = arguments.address<RowScale>();
    job.rows = arguments.number();
    job.dim = arguments.number();
    job.x_stride = arguments.number();
    job.eps = arguments.real();
    job.offset = static_cast<float>(arguments.real());
    job.round_first = arguments.number() != 0;
    const int64_t threads = arguments.number();
    if (arguments.failed() || !is_norm(operation, storage)) return nullptr;
    job.operation = static_cast<NormOperation>(operation);
    job.storage = static_cast<Storage>(storage);
    return outcome_of(job.rows * job.dim, [&] { return run(job, static_cast<int>(threads)); });
}

// norm_backward(operation, storage, s, dy, ds, dx, weight, scales, weight_gradient, bias_gradient, rows, dim, offset,
//               threads)
PyObject* py_norm_backward(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 14, "norm_backward");
    NormGradient job = {};
    const int64_t operation = arguments.number(), storage = arguments.number();
    job.s = arguments.address<const void>();
    job.dy = arguments.address<const void>();
    job.ds = arguments.address<const void>();
    job.dx = arguments.address<void>();
    job.weight = arguments.address<const float>();
    job.scales = arguments.address<const RowScale>();
    job.weight_gradient = arguments.address<float>();
    job.bias_gradient = arguments.address<float>();
    job.rows = arguments.number();
    job.dim = arguments.number();
    job.offset = static_cast<float>(arguments.real());
    const int64_t threads = arguments.number();
    if (arguments.failed() || !is_norm(operation, storage)) return nullptr;
    job.operation = static_cast<NormOperation>(operation);
    job.storage = static_cast<Storage>(storage);
    return outcome_of(job.rows * job.dim, [&] { return run(job, static_cast<int>(threads)); });
}

}  // namespace
