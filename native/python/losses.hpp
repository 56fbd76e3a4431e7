// Cross-entropy from Python, on addresses given as integers.
#pragma once
#include "arguments.hpp"
#include "calls.hpp"
#include "direct.hpp"

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

// A fresh tensor like a part of float32 memory: `shape` () or (3, rows).
PyObject* fresh_floats(PyObject* shape, float** data) {
    PyObject* tensor = shape ? PyObject_CallFunctionObjArgs(torch.empty, shape, nullptr) : nullptr;
    Py_XDECREF(shape);
    DlpackTensor view;
    if (!tensor) return nullptr;
    if (torch.view(tensor, &view) != 0 || !is_cpu_float32(view)) {
        PyErr_Clear();
        Py_DECREF(tensor);
        return nullptr;
    }
    *data = reinterpret_cast<float*>(static_cast<char*>(view.data) + view.byte_offset);
    return tensor;
}

// Rows of logits and their classes, from tensors that are plainly that.
bool is_rows_and_classes(PyObject* x, PyObject* target, CrossEntropyJob& job) {
    if (!torch.view || reinterpret_cast<PyObject*>(Py_TYPE(x)) != torch.tensor) return false;
    if (reinterpret_cast<PyObject*>(Py_TYPE(target)) != torch.tensor || is_watched()) return false;
    DenseRows rows;
    DlpackTensor view;
    if (!dense_rows(torch.view, x, rows) || torch.view(x, &view) != 0 || view.ndim != 2) return false;
    if (rows.storage != FLOAT32) return false;
    job.x = rows.data;
    job.rows = rows.count;
    job.classes = job.stride = rows.size;
    job.storage = FLOAT32;
    job.target = dense_indices(torch.view, target, rows.count);
    return job.target;
}

// The gradient's memory; null alone where it is not to be computed now.
PyObject* fresh_gradient(PyObject* x, CrossEntropyJob& job) {
    DenseRows rows = {static_cast<char*>(const_cast<void*>(job.x)), job.rows, job.classes, 1, job.storage}, fresh;
    PyObject* dx = gradient_fits_cache(job) ? fresh_rows(SOFTMAX, x, rows, fresh) : nullptr;
    if (dx) job.dx = fresh.data;
    return dx;
}

// loss_of_rows(x, target, ignore_index, reduction, smoothing, gradient) -> (loss, kept, dx or None), or None where the
// tensors are not plainly dense float32 rows and their int64 classes. `reduction` is a mean or a sum; `gradient`: dx is
// wanted. kept: 3 x rows floats, mantissas, exponents and losses.
PyObject* py_loss_of_rows(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 6) return PyErr_Format(PyExc_TypeError, "loss_of_rows takes 6 arguments, got %zd", count);
    CrossEntropyJob job = {};
    job.ignore_index = PyLong_AsLongLong(given[2]);
    const long reduction = PyLong_AsLong(given[3]);
    job.smoothing = PyFloat_AsDouble(given[4]);
    if (PyErr_Occurred() || !is_known(job, reduction)) return nullptr;
    if (!is_rows_and_classes(given[0], given[1], job)) {
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }
    float* reduced = nullptr;
    PyObject* kept = fresh_floats(Py_BuildValue("(iL)", 3, static_cast<long long>(job.rows)), &job.mantissa);
    PyObject* loss = kept ? fresh_floats(PyTuple_New(0), &reduced) : nullptr;
    PyObject* dx = loss && given[5] == Py_True ? fresh_gradient(given[0], job) : nullptr;
    PyObject* done = nullptr;
    if (loss && !PyErr_Occurred()) {
        job.exponent = job.mantissa + job.rows;
        job.loss = job.exponent + job.rows;
        const long threads = job.rows * job.classes < thresholds().serial ? 1 : number_from(torch.get_num_threads);
        const auto run = dx ? cross_entropy_with_gradient : cross_entropy;
        done = threads < 0 ? nullptr : outcome_of(job.rows * job.classes, [&] {
            return run(job, static_cast<Reduction>(reduction), reduced, static_cast<int>(threads));
        });
    }
    PyObject* result = nullptr;
    if (done) result = PyTuple_Pack(3, loss, kept, dx ? dx : Py_None);
    else if (!PyErr_Occurred()) result = Py_NewRef(Py_None);
    Py_XDECREF(done);
    Py_XDECREF(dx);
    Py_XDECREF(loss);
    Py_XDECREF(kept);
    return result;
}

}  // namespace
