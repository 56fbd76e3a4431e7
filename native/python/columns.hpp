// The column norms from Python: two functions whose arguments are the members of ColumnJob and ColumnGradient.
#pragma once
#include "arguments.hpp"
#include "calls.hpp"
#include "columns/columns.hpp"

namespace {

bool are_columns(int64_t storage, int64_t channels, int64_t groups) {
    if (storage >= 0 && storage < STORAGES && groups >= 0 && (groups == 0 || channels % groups == 0)) return true;
    PyErr_SetString(PyExc_ValueError, "columns: unknown storage, or groups that do not divide the channels");
    return false;
}

// columns(storage, x, y, gain, shift, scales, scaled, left_out, squares, left_out_squares, rows, channels, groups, eps,
//         threads); scales: `groups` float32 a row; the sums in float64
PyObject* py_columns(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 15, "columns");
    ColumnJob job = {};
    const int64_t storage = arguments.number();
    job.x = arguments.address<const void>();
    job.y = arguments.address<void>();
    job.gain = arguments.address<const float>();
    job.shift = arguments.address<const float>();
    job.scales = arguments.address<float>();
    job.scaled = arguments.number() != 0;
    job.left_out = arguments.address<const uint8_t>();
    job.squares = arguments.address<double>();
    job.left_out_squares = arguments.address<double>();
    job.rows = arguments.number();
    job.channels = arguments.number();
    job.groups = arguments.number();
    job.eps = arguments.real();
    const int64_t threads = arguments.number();
    if (arguments.failed() || !are_columns(storage, job.channels, job.groups)) return nullptr;
    job.storage = static_cast<Storage>(storage);
    return outcome_of(job.rows * job.channels, [&] { return run(job, static_cast<int>(threads)); });
}

// columns_backward(storage, x, dy, dx, scales, of_dy, of_u, along_u, along_one, rows, channels, groups, threads)
PyObject* py_columns_backward(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 13, "columns_backward");
    ColumnGradient job = {};
    const int64_t storage = arguments.number();
    job.x = arguments.address<const void>();
    job.dy = arguments.address<const void>();
    job.dx = arguments.address<void>();
    job.scales = arguments.address<const float>();
    job.of_dy = arguments.address<const float>();
    job.of_u = arguments.address<const float>();
    job.along_u = arguments.address<double>();
    job.along_one = arguments.address<double>();
    job.rows = arguments.number();
    job.channels = arguments.number();
    job.groups = arguments.number();
    const int64_t threads = arguments.number();
    if (arguments.failed() || !are_columns(storage, job.channels, job.groups)) return nullptr;
    job.storage = static_cast<Storage>(storage);
    return outcome_of(job.rows * job.channels, [&] { return run(job, static_cast<int>(threads)); });
}

}  // namespace
