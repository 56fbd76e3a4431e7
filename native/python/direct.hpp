// The shortest way from a torch tensor to its softmax: every check, the allocation and the kernel in one call from
// Python, by the attributes that torch's tensors show to Python. Nothing of torch is compiled in.
//
// On a short row the checks cost more than the kernel does; written in Python they alone would exceed torch's whole call.
#pragma once
#include "calls.hpp"

#include "../core/memory.hpp"

namespace {

constexpr int64_t HUGE_PAGES_FROM = 4 << 20;  // bytes of a fresh output

// Owned references, released at once where a result is not kept.
class Owned {
public:
    explicit Owned(PyObject* object) : object_(object) {}
    ~Owned() { Py_XDECREF(object_); }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    PyObject* get() const { return object_; }
    PyObject* release() {
        PyObject* object = object_;
        object_ = nullptr;
        return object;
    }
    explicit operator bool() const { return object_ != nullptr; }

private:
    PyObject* object_;
};

// What the call needs of torch, given once by normkit.kernels.native.
struct Torch {
    PyObject *tensor, *float32, *empty_like, *get_num_threads, *forward_ad, *guards;
    PyObject *dtype, *is_cpu, *requires_grad, *shape, *current_level;  // names of attributes
    PyObject *is_contiguous, *is_neg, *numel, *size, *ndim, *data_ptr;
    PyObject* last;  // -1
};
Torch torch = {};

PyObject* name(const char* text) { return PyUnicode_InternFromString(text); }

// prepare_direct(Tensor, float32, empty_like, get_num_threads, forward_ad, guards): guards are functions without
// arguments; while one of them returns something true, torch records or transforms calls, and none may come here.
PyObject* py_prepare_direct(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 6 || !PyTuple_Check(given[5])) {
        PyErr_SetString(PyExc_TypeError, "prepare_direct takes five objects of torch and a tuple of functions");
        return nullptr;
    }
    for (Py_ssize_t i = 0; i < count; ++i) Py_INCREF(given[i]);
    torch = {given[0],       given[1],      given[2],      given[3],       given[4],
             given[5],       name("dtype"), name("is_cpu"), name("requires_grad"), name("shape"),
             name("_current_level"), name("is_contiguous"), name("is_neg"), name("numel"), name("size"),
             name("ndim"),   name("data_ptr"), PyLong_FromLong(-1)};
    if (PyErr_Occurred()) return nullptr;
    Py_RETURN_NONE;
}

bool attribute_is(PyObject* object, PyObject* attribute, PyObject* wanted) {
    const Owned value(PyObject_GetAttr(object, attribute));
    return value.get() == wanted;
}

bool method_is(PyObject* object, PyObject* method, PyObject* wanted) {
    const Owned value(PyObject_CallMethodObjArgs(object, method, nullptr));
    return value.get() == wanted;
}

// A whole number that a method returns; -1 if there is none.
int64_t number_of(PyObject* object, PyObject* method, PyObject* argument) {
    const Owned value(PyObject_CallMethodObjArgs(object, method, argument, nullptr));
    return value ? PyLong_AsLongLong(value.get()) : -1;
}

void* address_of(PyObject* tensor) {
    const Owned value(PyObject_CallMethodObjArgs(tensor, torch.data_ptr, nullptr));
    return value ? PyLong_AsVoidPtr(value.get()) : nullptr;
}

bool torch_is_idle() {
    const Py_ssize_t count = PyTuple_Size(torch.guards);
    for (Py_ssize_t i = 0; i < count; ++i) {
        const Owned busy(PyObject_CallNoArgs(PyTuple_GetItem(torch.guards, i)));
        if (!busy || PyObject_IsTrue(busy.get()) != 0) return false;
    }
    const Owned level(PyObject_GetAttr(torch.forward_ad, torch.current_level));
    return level && PyLong_AsLong(level.get()) < 0;
}

// Float32 on the CPU, contiguous, no gradient asked for, no lazy negation.
bool is_plain(PyObject* x) {
    return reinterpret_cast<PyObject*>(Py_TYPE(x)) == torch.tensor && attribute_is(x, torch.dtype, torch.float32) &&
           attribute_is(x, torch.is_cpu, Py_True) && attribute_is(x, torch.requires_grad, Py_False) &&
           method_is(x, torch.is_contiguous, Py_True) && method_is(x, torch.is_neg, Py_False);
}

bool is_last_axis(PyObject* x, int64_t dim) {
    if (dim == -1) return true;
    const Owned ndim(PyObject_GetAttr(x, torch.ndim));
    return ndim && PyLong_AsLongLong(ndim.get()) == dim + 1;
}

bool same_shape(PyObject* x, PyObject* out) {
    const Owned a(PyObject_GetAttr(x, torch.shape)), b(PyObject_GetAttr(out, torch.shape));
    return a && b && PyObject_RichCompareBool(a.get(), b.get(), Py_EQ) == 1;
}

bool overlap_in_part(const void* a, const void* b, int64_t bytes) {
    const intptr_t distance = reinterpret_cast<intptr_t>(a) - reinterpret_cast<intptr_t>(b);
    return distance != 0 && distance < bytes && -distance < bytes;
}

// The job for x, or false: the tensors are not plain, and other code must see to the call.
bool plain_job(PyObject* x, int64_t dim, PyObject* out, Job& job) {
    if (!torch.tensor || !torch_is_idle() || !is_plain(x) || !is_last_axis(x, dim)) return false;
    if (out != Py_None && !(is_plain(out) && same_shape(x, out))) return false;
    const int64_t elements = number_of(x, torch.numel, nullptr);
    if (elements <= 0) return false;
    job.dim = number_of(x, torch.size, torch.last);
    if (job.dim <= 0) return false;
    job.outer = elements / job.dim;
    job.inner = 1;
    job.a_stride = job.out_stride = job.dim;
    job.a = address_of(x);
    return job.a != nullptr;
}

// softmax_direct(x, dim, out) -> y or None
PyObject* py_softmax_direct(PyObject*, PyObject* const* given, Py_ssize_t count) {
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "softmax_direct takes a tensor, an axis and a tensor or None");
        return nullptr;
    }
    PyObject *x = given[0], *out = given[2];
    const int64_t dim = PyLong_AsLongLong(given[1]);
    Job job = {};
    if (PyErr_Occurred() || !plain_job(x, dim, out, job)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    if (out == Py_None) {
        out = PyObject_CallOneArg(torch.empty_like, x);
    } else {
        Py_INCREF(out);
    }
    Owned y(out);
    if (!y) return nullptr;
    job.out = address_of(out);
    const int64_t elements = job.outer * job.dim, bytes = elements * 4;
    if (!job.out || overlap_in_part(job.a, job.out, bytes)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    int64_t threads = 1;
    if (elements >= thresholds().serial) {
        const Owned number(PyObject_CallNoArgs(torch.get_num_threads));
        threads = number ? PyLong_AsLongLong(number.get()) : 1;
        if (PyErr_Occurred()) return nullptr;
        if (given[2] == Py_None && bytes >= HUGE_PAGES_FROM) advise_huge_pages(job.out, static_cast<size_t>(bytes));
    }
    const Owned done(run_job(job, static_cast<int>(threads), false));
    return done ? y.release() : nullptr;
}

}  // namespace
