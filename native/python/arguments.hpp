// Reading the arguments of a call that takes numbers and addresses only.
#pragma once
#include "python.hpp"

#include <stdint.h>

namespace {

// Numbers from a call's arguments; `failed` remembers the first that was none.
class Arguments {
public:
    Arguments(PyObject* const* arguments, Py_ssize_t count, Py_ssize_t wanted, const char* name)
        : next_(arguments), failed_(count != wanted) {
        if (failed_) PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, got %zd", name, wanted, count);
    }
    int64_t number() {
        if (failed_) return 0;
        const long long value = PyLong_AsLongLong(*next_++);
        failed_ = value == -1 && PyErr_Occurred();
        return value;
    }
    double real() {
        if (failed_) return 0.0;
        const double value = PyFloat_AsDouble(*next_++);
        failed_ = value == -1.0 && PyErr_Occurred();
        return value;
    }
    template <class T>
    T* address() {
        if (failed_) return nullptr;
        void* value = PyLong_AsVoidPtr(*next_++);
        failed_ = !value && PyErr_Occurred();
        return static_cast<T*>(value);
    }
    bool failed() const { return failed_; }

private:
    PyObject* const* next_;
    bool failed_;
};

}  // namespace
