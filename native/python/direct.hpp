// The shortest way from a torch tensor to its softmax: checks, allocation and kernel in one call from Python. On a
// short row the checks cost more than the kernel; written in Python they alone would exceed torch's whole call.
#pragma once
#include "calls.hpp"
#include "exchange.hpp"

#include "memory.hpp"

namespace {

constexpr int64_t HUGE_PAGES_FROM = 4 << 20;  // bytes of a fresh output

// What short_rows needs of torch; `view` is null until use_torch has found all of it.
struct Torch {
    int (*view)(PyObject*, DlpackTensor*);
    PyObject *tensor, *parameter, *empty_like, *empty, *active_modes, *is_tracing, *get_num_threads;
    PyObject *requires_grad, *shape;  // names of attributes
};
Torch torch = {};

// use_torch(Tensor, Parameter, empty_like, empty, active_modes, is_tracing, get_num_threads, exchange capsule)
// -> whether short_rows can work.
// active_modes() is the number of dispatch modes at work: FakeTensor, make_fx, torch.export; is_tracing() is torch.jit's.
PyObject* py_use_torch(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 8) return PyErr_Format(PyExc_TypeError, "use_torch takes 8 arguments, got %zd", count);
    const auto* table = static_cast<const DlpackExchange*>(PyCapsule_GetPointer(given[7], "dlpack_exchange_api"));
    if (!table) return nullptr;
    if (table->major != 1 || !table->view) Py_RETURN_FALSE;
    PyObject* requires_grad = PyUnicode_InternFromString("requires_grad");
    PyObject* shape = PyUnicode_InternFromString("shape");
    if (!requires_grad || !shape) return nullptr;
    for (int k = 0; k < 7; ++k) Py_INCREF(given[k]);
    torch = {table->view, given[0], given[1], given[2], given[3], given[4], given[5], given[6], requires_grad, shape};
    Py_RETURN_TRUE;
}

// A whole number that a function without arguments returns; -1 and an exception if it returns none.
long number_from(PyObject* function) {
    PyObject* value = PyObject_CallNoArgs(function);
    const long number = value ? PyLong_AsLong(value) : -1;
    Py_XDECREF(value);
    return number;
}

// Whether something looks at what torch does, by which a kernel at an address is not seen; also if that cannot be told.
bool is_watched() { return number_from(torch.active_modes) != 0 || number_from(torch.is_tracing) != 0; }

// Whether this is a tensor or a parameter, not of another subclass.
bool is_tensor(PyObject* object) {
    PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
    return type == torch.tensor || type == torch.parameter;
}

// Whether this is a tensor, not of a subclass, that asks for no gradient.
bool is_plain(PyObject* object) {
    if (reinterpret_cast<PyObject*>(Py_TYPE(object)) != torch.tensor) return false;
    PyObject* asks = PyObject_GetAttr(object, torch.requires_grad);
    Py_XDECREF(asks);
    return asks == Py_False;
}

bool overlap_in_part(const DenseRows& x, const DenseRows& y) {
    const intptr_t distance = reinterpret_cast<intptr_t>(x.data) - reinterpret_cast<intptr_t>(y.data);
    const intptr_t bytes = static_cast<intptr_t>(x.bytes());
    return distance != 0 && distance < bytes && -distance < bytes;
}

bool lie_apart(const DenseRows& x, const DenseRows& y) {
    return x.data + x.bytes() <= y.data || y.data + y.bytes() <= x.data;
}

// Whether y has room for a result per row (log-sum-exp) or per element of x.
bool can_take(long operation, const DenseRows& x, const DenseRows& y) {
    if (x.storage != y.storage) return false;
    if (operation == LOGSUMEXP) return x.inner == 1 && y.elements() == x.count && lie_apart(x, y);
    return y.size == x.size && y.count == x.count && y.inner == x.inner && !overlap_in_part(x, y);
}

PyObject* run_rows(long operation, const DenseRows& x, const DenseRows& y) {
    Job job = {};
    job.operation = static_cast<Operation>(operation);
    job.a = x.data;
    job.out = y.data;
    job.storage = x.storage;
    job.outer = x.count;
    job.inner = x.inner;
    job.dim = job.a_stride = job.out_stride = x.size;
    const long threads = x.elements() < thresholds().serial ? 1 : number_from(torch.get_num_threads);
    return threads < 0 ? nullptr : run_job(job, static_cast<int>(threads), false);
}

PyObject* run_gradient(long operation, const DenseRows& y, const DenseRows& dy, const DenseRows& dx) {
    Job job = {};
    job.operation = static_cast<Operation>(operation);
    job.a = y.data;
    job.b = dy.data;
    job.out = dx.data;
    job.storage = y.storage;
    job.outer = y.count;
    job.inner = y.inner;
    job.dim = job.a_stride = job.b_stride = job.out_stride = y.size;
    const long threads = y.elements() < thresholds().serial ? 1 : number_from(torch.get_num_threads);
    return threads < 0 ? nullptr : run_job(job, static_cast<int>(threads), false);
}

// A tensor of the shape of x without its last axis.
PyObject* one_per_row(PyObject* x) {
    PyObject* shape = PyObject_GetAttr(x, torch.shape);
    PyObject* leading = shape ? PySequence_GetSlice(shape, 0, PySequence_Size(shape) - 1) : nullptr;
    PyObject* y = leading ? PyObject_CallFunctionObjArgs(torch.empty, leading, nullptr) : nullptr;
    Py_XDECREF(leading);
    Py_XDECREF(shape);
    return y;
}

// A fresh tensor for the result and its rows; null and an exception if there is none, null alone if it is of another
// kind than x (torch.empty follows the default dtype and device).
PyObject* fresh_rows(long operation, PyObject* x, const DenseRows& rows, DenseRows& fresh, int64_t dim = -1) {
    PyObject* y = operation == LOGSUMEXP ? one_per_row(x) : PyObject_CallFunctionObjArgs(torch.empty_like, x, nullptr);
    if (!y) return nullptr;
    if (!dense_rows(torch.view, y, fresh, operation == LOGSUMEXP ? -1 : dim) || !can_take(operation, rows, fresh)) {
        Py_DECREF(y);
        return nullptr;
    }
    const int64_t bytes = fresh.bytes();
    if (bytes >= HUGE_PAGES_FROM) advise_huge_pages(fresh.data, static_cast<size_t>(bytes));
    return y;
}

// short_rows(operation, x, out=None, dim=-1) -> the result, or None where x, or out, is not a plainly dense tensor on the
// CPU of a type that the kernels take, or has no such axis; log-sum-exp: float32 along the last axis only. An `out` must have the shape of the result: the caller has made sure of it.
PyObject* py_short_rows(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count < 2 || count > 4) return PyErr_Format(PyExc_TypeError, "short_rows takes 2 to 4 arguments, got %zd", count);
    const long operation = PyLong_AsLong(given[0]);
    const long dim = count == 4 ? PyLong_AsLong(given[3]) : -1;
    if (PyErr_Occurred()) return nullptr;
    PyObject* x = given[1];
    PyObject* out = count >= 3 && given[2] != Py_None ? given[2] : nullptr;
    DenseRows rows, destination;
    if (!torch.view || (operation != SOFTMAX && operation != LOG_SOFTMAX && operation != LOGSUMEXP)) Py_RETURN_NONE;
    if (!is_plain(x) || (out && !is_plain(out)) || is_watched()) {
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }
    if (!dense_rows(torch.view, x, rows, dim)) Py_RETURN_NONE;
    if (out) {
        const int64_t its_dim = operation == LOGSUMEXP ? -1 : dim;
        if (!dense_rows(torch.view, out, destination, its_dim) || !can_take(operation, rows, destination)) Py_RETURN_NONE;
        Py_INCREF(out);
    } else {
        out = fresh_rows(operation, x, rows, destination, dim);
        if (!out && PyErr_Occurred()) return nullptr;
        if (!out) Py_RETURN_NONE;
    }
    PyObject* done = run_rows(operation, rows, destination);
    if (!done) {
        Py_DECREF(out);
        return nullptr;
    }
    Py_DECREF(done);
    return out;
}

// gradient_rows(operation, y, dy) -> dx, or None where one of the two is not plainly dense float32 rows on the CPU. `y`
// may ask for a gradient (a saved result does); the caller makes sure that none is to be taken of dx.
PyObject* py_gradient_rows(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 3) return PyErr_Format(PyExc_TypeError, "gradient_rows takes 3 arguments, got %zd", count);
    const long operation = PyLong_AsLong(given[0]);
    if (operation == -1 && PyErr_Occurred()) return nullptr;
    const bool known = operation == SOFTMAX_BACKWARD || operation == LOG_SOFTMAX_BACKWARD;
    if (!torch.view || !known || !is_plain(given[2]) || is_watched()) {
        if (PyErr_Occurred()) return nullptr;
        Py_RETURN_NONE;
    }
    DenseRows y, dy, dx;
    const bool same_kind = reinterpret_cast<PyObject*>(Py_TYPE(given[1])) == torch.tensor;
    if (!same_kind || !dense_rows(torch.view, given[1], y) || !dense_rows(torch.view, given[2], dy)) Py_RETURN_NONE;
    if (y.size != dy.size || y.count != dy.count || y.storage != dy.storage) Py_RETURN_NONE;
    PyObject* fresh = fresh_rows(SOFTMAX, given[2], dy, dx);
    if (!fresh && PyErr_Occurred()) return nullptr;
    if (!fresh) Py_RETURN_NONE;
    PyObject* done = run_gradient(operation, y, dy, dx);
    if (!done) {
        Py_DECREF(fresh);
        return nullptr;
    }
    Py_DECREF(done);
    return fresh;
}

}  // namespace
