// The row norms from Python: two functions whose arguments are the members of NormJob and NormGradient, and two that take
// tensors, for the commonest calls: there the checks cost more than the kernel.
#pragma once
#include "arguments.hpp"
#include "calls.hpp"
#include "losses.hpp"
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

// A parameter's `size` floats; null with `failed` if it is something else than that or None.
const float* row_parameter(PyObject* object, int64_t size, bool& failed) {
    if (object == Py_None) return nullptr;
    DenseRows row;
    DlpackTensor view;
    const bool fits = is_tensor(object) && dense_rows(torch.view, object, row) && row.count == 1 &&
                      row.size == size && row.storage == FLOAT32 && torch.view(object, &view) == 0 && view.ndim == 1;
    failed = failed || !fits;
    return fits ? reinterpret_cast<const float*>(row.data) : nullptr;
}

bool overlaps(const float* row, int64_t size, const DenseRows& y) {
    const char *begin = reinterpret_cast<const char*>(row), *end = reinterpret_cast<const char*>(row + size);
    return row && begin < y.data + y.bytes() && y.data < end;
}

// Whether the object is a dense tensor of the same rows as x.
bool like_rows(PyObject* object, const DenseRows& x, DenseRows& rows) {
    return is_tensor(object) && dense_rows(torch.view, object, rows) && rows.size == x.size && rows.count == x.count &&
           rows.storage == x.storage;
}

// Whether `shape` is a tuple that holds `size` alone.
bool is_shape_of(PyObject* shape, int64_t size) {
    if (!PyTuple_Check(shape) || PyTuple_Size(shape) != 1) return false;
    PyObject* only = PyTuple_GetItem(shape, 0);
    const bool same = PyLong_Check(only) && PyLong_AsLongLong(only) == size;
    if (PyErr_Occurred()) PyErr_Clear();
    return same;
}

// As many threads as torch uses, for a call of this size; -1 and an exception if torch does not say.
long threads_of(int64_t elements) {
    return elements < thresholds().serial ? 1 : number_from(torch.get_num_threads);
}

// What norm_rows gives: y alone, or (y, sum, scales) with None for what was not kept; takes over the references.
PyObject* kept(PyObject* y, PyObject* sum, PyObject* scales) {
    if (!sum && !scales) return y;
    PyObject* all = PyTuple_Pack(3, y, sum ? sum : Py_None, scales ? scales : Py_None);
    Py_DECREF(y);
    Py_XDECREF(sum);
    Py_XDECREF(scales);
    return all;
}

// norm_rows(operation, x, normalized_shape, weight, bias, eps, offset, residual, keep_sum, keep_scales, out) -> y, or
// (y, sum, scales) where one of the two is kept; None where these are not plainly dense tensors of one float type on the CPU and
// float32 parameters of the last axis, the one that normalized_shape (or None) names. Nothing is recorded by autograd.
// `residual` and `out` must have the shape of x.
PyObject* py_norm_rows(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 11) return PyErr_Format(PyExc_TypeError, "norm_rows takes 11 arguments, got %zd", count);
    const long operation = PyLong_AsLong(given[0]);
    NormJob job = {};
    job.eps = PyFloat_AsDouble(given[5]);
    job.offset = static_cast<float>(PyFloat_AsDouble(given[6]));
    if (PyErr_Occurred() || !is_norm(operation, FLOAT32)) return nullptr;
    PyObject *x = given[1], *residual = given[7], *out = given[10];
    DenseRows rows, added, summed, fresh;
    bool failed = !torch.view || !is_tensor(x) || !(job.eps >= 0.0);
    failed = failed || is_watched() || !dense_rows(torch.view, x, rows);
    failed = failed || (given[2] == Py_None ? operation != COMPRESSED_NORM : !is_shape_of(given[2], rows.size));
    if (!failed) job.weight = row_parameter(given[3], rows.size, failed);
    if (!failed) job.bias = row_parameter(given[4], rows.size, failed);
    if (!failed && residual != Py_None) {
        failed = !like_rows(residual, rows, added);
        job.residual = added.data;
    }
    if (!failed && out != Py_None) {
        failed = !is_plain(out) || !dense_rows(torch.view, out, fresh) || !can_take(SOFTMAX, rows, fresh) ||
                 overlaps(job.weight, rows.size, fresh) || overlaps(job.bias, rows.size, fresh) ||
                 (residual != Py_None && overlap_in_part(added, fresh));
    }
    if (failed) {
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }
    PyObject *y = out, *sum = nullptr, *scales = nullptr;
    if (out == Py_None) {
        y = fresh_rows(SOFTMAX, x, rows, fresh);
    } else {
        Py_INCREF(out);
    }
    if (y && residual != Py_None && given[8] == Py_True) {
        sum = fresh_rows(SOFTMAX, x, rows, summed);
        job.sum = summed.data;
        if (!sum) Py_CLEAR(y);
    }
    if (y && given[9] == Py_True) {
        float* data = nullptr;
        scales = fresh_floats(Py_BuildValue("(LL)", static_cast<long long>(rows.count), 3LL), &data);
        job.scales = reinterpret_cast<RowScale*>(data);
        if (!scales) Py_CLEAR(y);
    }
    if (!y) {
        Py_XDECREF(sum);
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }
    job.operation = static_cast<NormOperation>(operation);
    job.storage = rows.storage;
    job.x = rows.data;
    job.y = fresh.data;
    job.rows = rows.count;
    job.dim = job.x_stride = rows.size;
    const long threads = threads_of(rows.elements());
    PyObject* done = nullptr;
    if (threads >= 0) done = outcome_of(rows.elements(), [&] { return run(job, static_cast<int>(threads)); });
    if (!done) {
        Py_XDECREF(sum);
        Py_XDECREF(scales);
        Py_DECREF(y);
        return nullptr;
    }
    Py_DECREF(done);
    return kept(y, sum, scales);
}

// A fresh row of `size` floats for a gradient that is wanted, else None; null where it cannot be had.
PyObject* fresh_row(PyObject* wanted, int64_t size, float** data) {
    *data = nullptr;
    if (wanted != Py_True) {
        Py_INCREF(Py_None);
        return Py_None;
    }
    return fresh_floats(Py_BuildValue("(L)", static_cast<long long>(size)), data);
}

// norm_rows_backward(operation, s, dy, ds, weight, scales, offset, of_weight, of_bias) -> (dx, d_weight, d_bias), or None
// where these are not plainly dense tensors of one float type on the CPU. A gradient that is not wanted is None.
PyObject* py_norm_rows_backward(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 9) return PyErr_Format(PyExc_TypeError, "norm_rows_backward takes 9 arguments, got %zd", count);
    const long operation = PyLong_AsLong(given[0]);
    NormGradient job = {};
    job.offset = static_cast<float>(PyFloat_AsDouble(given[6]));
    if (PyErr_Occurred() || !is_norm(operation, FLOAT32)) return nullptr;
    DenseRows s, dy, ds, scales, fresh;
    bool failed = !torch.view || !is_tensor(given[1]) || !is_tensor(given[2]) || !is_tensor(given[5]);
    failed = failed || is_watched() || !dense_rows(torch.view, given[1], s);
    failed = failed || !like_rows(given[2], s, dy) || !dense_rows(torch.view, given[5], scales);
    failed = failed || scales.storage != FLOAT32 || scales.elements() != 3 * s.count;
    if (!failed && given[3] != Py_None) {
        failed = !like_rows(given[3], s, ds);
        job.ds = ds.data;
    }
    if (!failed) job.weight = row_parameter(given[4], s.size, failed);
    if (failed) {
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }
    PyObject* dx = fresh_rows(SOFTMAX, given[1], s, fresh);
    PyObject* d_weight = dx ? fresh_row(given[7], s.size, &job.weight_gradient) : nullptr;
    PyObject* d_bias = d_weight ? fresh_row(given[8], s.size, &job.bias_gradient) : nullptr;
    PyObject* result = nullptr;
    if (d_bias) {
        job.operation = static_cast<NormOperation>(operation);
        job.storage = s.storage;
        job.s = s.data;
        job.dy = dy.data;
        job.dx = fresh.data;
        job.scales = reinterpret_cast<const RowScale*>(scales.data);
        job.rows = s.count;
        job.dim = s.size;
        const long threads = threads_of(s.elements());
        PyObject* done = nullptr;
        if (threads >= 0) done = outcome_of(s.elements(), [&] { return run(job, static_cast<int>(threads)); });
        if (done) result = PyTuple_Pack(3, dx, d_weight, d_bias);
        Py_XDECREF(done);
    }
    Py_XDECREF(dx);
    Py_XDECREF(d_weight);
    Py_XDECREF(d_bias);
    if (result || PyErr_Occurred()) return result;
    Py_RETURN_NONE;
}

}  // namespace
