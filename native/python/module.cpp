// The CPython module normkit._native: the core's functions on addresses given as integers.
//
// Built against the stable ABI of Python 3.11, so one file serves every later version. The caller answers for the
// addresses: normkit/kernels/native.py is the only one, and checks shapes, types and overlap there.
#include "python.hpp"

#include <cstring>

#include "dispatch.hpp"
#include "memory.hpp"
#include "softmax/softmax.hpp"
#include "threads.hpp"
#include "arguments.hpp"
#include "calls.hpp"
#include "column_steps.hpp"
#include "columns.hpp"
#include "direct.hpp"
#include "losses.hpp"
#include "norms.hpp"
#include "planes.hpp"

namespace {

using namespace normkit;

enum Flag : int64_t { HIGH = 1, MASKED_ZERO = 2, DETERMINISTIC = 4, PATH_SHIFT = 8 };

// run(operation, storage, a, b, out, outer, dim, inner, a_stride, b_stride, out_stride, threads, flags)
PyObject* py_run(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 13, "run");
    Job job = {};
    const int64_t operation = arguments.number(), storage = arguments.number();
    job.a = arguments.address<const void>();
    job.b = arguments.address<const void>();
    job.out = arguments.address<void>();
    job.outer = arguments.number();
    job.dim = arguments.number();
    job.inner = arguments.number();
    job.a_stride = arguments.number();
    job.b_stride = arguments.number();
    job.out_stride = arguments.number();
    const int64_t threads = arguments.number(), flags = arguments.number(), path = flags >> PATH_SHIFT;
    if (arguments.failed()) return nullptr;
    if (operation < 0 || operation >= OPERATIONS || storage < 0 || storage >= STORAGES || path < 0 || path >= PATHS) {
        PyErr_SetString(PyExc_ValueError, "run: unknown operation, storage or path");
        return nullptr;
    }
    job.operation = static_cast<Operation>(operation);
    job.storage = static_cast<Storage>(storage);
    job.path = static_cast<Path>(path);
    job.high = flags & HIGH;
    job.masked_zero = flags & MASKED_ZERO;
    return run_job(job, static_cast<int>(threads), flags & DETERMINISTIC);
}

// softmax_float32(x, out, rows, dim, threads): the shortest way for contiguous rows.
PyObject* py_softmax_float32(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 5, "softmax_float32");
    Job job = {};
    job.a = arguments.address<const void>();
    job.out = arguments.address<void>();
    job.outer = arguments.number();
    job.dim = job.a_stride = job.out_stride = arguments.number();
    const int64_t threads = arguments.number();
    job.inner = 1;
    if (arguments.failed()) return nullptr;
    return run_job(job, static_cast<int>(threads), false);
}

PyObject* py_advise_huge_pages(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 2, "advise_huge_pages");
    void* start = arguments.address<void>();
    const int64_t bytes = arguments.number();
    if (arguments.failed()) return nullptr;
    return PyBool_FromLong(advise_huge_pages(start, static_cast<size_t>(bytes)));
}

PyObject* py_isa(PyObject*, PyObject*) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return raise({Outcome::NO_KERNELS, dispatch_error()});
    return PyUnicode_FromString(kernels->name);
}

PyObject* py_use_isa(PyObject*, PyObject* name) {
    PyObject* bytes = PyUnicode_AsUTF8String(name);
    if (!bytes) return nullptr;
    const char* text = PyBytes_AsString(bytes);
    const bool used = text && use_kernels(text);
    Py_DECREF(bytes);
    if (!used) return PyErr_Occurred() ? nullptr : raise({Outcome::BAD_JOB, dispatch_error()});
    Py_RETURN_NONE;
}

PyObject* py_available(PyObject*, PyObject*) {
    PyObject* list = PyList_New(0);
    const KernelTable* active = active_kernels();
    for (const KernelTable* const* entry = implementations(); list && *entry; ++entry) {
        const KernelTable& table = **entry;
        PyObject* item = Py_BuildValue("{s:s,s:s,s:i,s:O,s:O}", "name", table.name, "description", table.description,
                                       "lanes", table.lanes, "supported", table.supported() ? Py_True : Py_False,
                                       "active", &table == active ? Py_True : Py_False);
        if (!item || PyList_Append(list, item) < 0) Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

PyObject* py_threading(PyObject*, PyObject*) { return PyUnicode_FromString(threading()); }

constexpr int64_t NO_LIMIT = INT64_MAX;

struct NamedThreshold {
    const char* name;
    int64_t Thresholds::*value;
    int64_t least, most;
};
constexpr NamedThreshold THRESHOLDS[] = {
    {"register_row", &Thresholds::register_row, 0, 512},
    {"short_row", &Thresholds::short_row, 0, 512},
    {"scratch_row", &Thresholds::scratch_row, 0, NO_LIMIT},
    {"split_row", &Thresholds::split_row, 0, NO_LIMIT},
    {"serial", &Thresholds::serial, 0, NO_LIMIT},
    {"piece", &Thresholds::piece, 16, NO_LIMIT},
    {"cache_bytes", &Thresholds::cache_bytes, 0, NO_LIMIT},
};

PyObject* py_thresholds(PyObject*, PyObject*) {
    PyObject* result = PyDict_New();
    for (const NamedThreshold& entry : THRESHOLDS) {
        int64_t number = thresholds().*entry.value;
        if (entry.value == &Thresholds::cache_bytes && number == 0) number = last_level_cache();
        PyObject* value = PyLong_FromLongLong(number);
        if (!result || !value || PyDict_SetItemString(result, entry.name, value) < 0) Py_CLEAR(result);
        Py_XDECREF(value);
    }
    return result;
}

// set_threshold(name, value)
PyObject* py_set_threshold(PyObject*, PyObject* arguments) {
    const char* name;
    long long value;
    if (!PyArg_ParseTuple(arguments, "sL", &name, &value)) return nullptr;
    for (const NamedThreshold& entry : THRESHOLDS) {
        if (std::strcmp(entry.name, name) != 0) continue;
        if (value < entry.least || value > entry.most || value % 16 != 0) {
            return PyErr_Format(PyExc_ValueError, "threshold %s: want a multiple of 16 from %lld to %lld, got %lld", name,
                                static_cast<long long>(entry.least), static_cast<long long>(entry.most), value);
        }
        thresholds().*entry.value = value;
        Py_RETURN_NONE;
    }
    return PyErr_Format(PyExc_ValueError, "no threshold named %s", name);
}

template <class F>
PyCFunction method(F* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

PyMethodDef METHODS[] = {
    {"run", method(py_run), METH_FASTCALL, "Run one operation of the softmax family on raw memory."},
    {"softmax_float32", method(py_softmax_float32), METH_FASTCALL, "Softmax of contiguous float32 rows."},
    {"gradient_rows", method(py_gradient_rows), METH_FASTCALL, "A gradient of dense float32 rows; None if not such."},
    {"cross_entropy", method(py_cross_entropy), METH_FASTCALL, "Cross-entropy of rows of logits."},
    {"cross_entropy_backward", method(py_cross_entropy_backward), METH_FASTCALL, "Its gradient by the logits."},
    {"loss_of_rows", method(py_loss_of_rows), METH_FASTCALL, "Cross-entropy of dense float32 rows; None if not such."},
    {"use_torch", method(py_use_torch), METH_FASTCALL, "Take what short_rows needs of torch; True if that is enough."},
    {"short_rows", method(py_short_rows), METH_FASTCALL, "One operation on dense float32 rows; None if not such."},
    {"norm", method(py_norm), METH_FASTCALL, "Run one row norm on raw memory."},
    {"norm_backward", method(py_norm_backward), METH_FASTCALL, "Its gradients."},
    {"norm_rows", method(py_norm_rows), METH_FASTCALL, "One row norm of a dense float32 tensor; None if not such."},
    {"norm_rows_backward", method(py_norm_rows_backward), METH_FASTCALL, "Its gradients; None if not such."},
    {"columns", method(py_columns), METH_FASTCALL, "Run one column norm on raw memory."},
    {"columns_backward", method(py_columns_backward), METH_FASTCALL, "Its gradients."},
    {"unified_advance", method(py_unified_advance), METH_FASTCALL, "One step of unified normalisation's statistics."},
    {"unified_gradient", method(py_unified_gradient), METH_FASTCALL, "The same for its gradient."},
    {"power_gain", method(py_power_gain), METH_FASTCALL, "What a pass of power normalisation multiplies by."},
    {"power_advance", method(py_power_advance), METH_FASTCALL, "One step of its statistic."},
    {"power_pull", method(py_power_pull), METH_FASTCALL, "What its backward pass multiplies by."},
    {"power_gradients", method(py_power_gradients), METH_FASTCALL, "What its backward pass leaves."},
    {"planes", method(py_planes), METH_FASTCALL, "Run one channel norm on raw memory."},
    {"group_norm_rows", method(py_group_norm_rows), METH_FASTCALL, "Group norm of a dense tensor; None if not such."},
    {"advise_huge_pages", method(py_advise_huge_pages), METH_FASTCALL, "Ask for huge pages; True if granted."},
    {"isa", py_isa, METH_NOARGS, "Name of the active instruction set."},
    {"use_isa", py_use_isa, METH_O, "Make the named instruction set active."},
    {"available", py_available, METH_NOARGS, "All instruction sets of this build."},
    {"threading", py_threading, METH_NOARGS, "What threads stand on, or why there are none."},
    {"thresholds", py_thresholds, METH_NOARGS, "The numbers that decide between the kernels."},
    {"set_threshold", py_set_threshold, METH_VARARGS, "Change one of them."},
    {nullptr, nullptr, 0, nullptr}};

struct Constant {
    const char* name;
    long value;
};
constexpr Constant CONSTANTS[] = {
    {"SOFTMAX", SOFTMAX},
    {"LOG_SOFTMAX", LOG_SOFTMAX},
    {"LOGSUMEXP", LOGSUMEXP},
    {"SOFTMAX_BACKWARD", SOFTMAX_BACKWARD},
    {"LOG_SOFTMAX_BACKWARD", LOG_SOFTMAX_BACKWARD},
    {"LOGSUMEXP_BACKWARD", LOGSUMEXP_BACKWARD},
    {"SOFTMAX_PAIR", SOFTMAX_PAIR},
    {"LAYER_NORM", LAYER_NORM},
    {"RMS_NORM", RMS_NORM},
    {"COMPRESSED_NORM", COMPRESSED_NORM},
    {"FLOAT32", FLOAT32},
    {"BFLOAT16", BFLOAT16},
    {"FLOAT16", FLOAT16},
    {"SHORT_ROW", static_cast<long>(SHORT_ROW) << PATH_SHIFT},
    {"RELOAD", static_cast<long>(RELOAD) << PATH_SHIFT},
    {"SCRATCH", static_cast<long>(SCRATCH) << PATH_SHIFT},
    {"TWO_PASS", static_cast<long>(TWO_PASS) << PATH_SHIFT},
    {"TWO_PASS_PAPER", static_cast<long>(TWO_PASS_PAPER) << PATH_SHIFT},
    {"THREE_PASS_RELOAD", static_cast<long>(THREE_PASS_RELOAD) << PATH_SHIFT},
    {"THREE_PASS_RECOMPUTE", static_cast<long>(THREE_PASS_RECOMPUTE) << PATH_SHIFT},
    {"TINY_PLANE", TINY_PLANE},
    {"MANY_PLANES", MANY_PLANES},
    {"HIGH", HIGH},
    {"MASKED_ZERO", MASKED_ZERO},
    {"DETERMINISTIC", DETERMINISTIC},
};

int add_constants(PyObject* module) {
    for (const Constant& constant : CONSTANTS) {
        if (PyModule_AddIntConstant(module, constant.name, constant.value) < 0) return -1;
    }
    return 0;
}

PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, reinterpret_cast<void*>(add_constants)}, {0, nullptr}};

PyModuleDef MODULE = {PyModuleDef_HEAD_INIT,
                      "_native",
                      "normkit's C++ kernels on raw memory; see normkit.kernels.native for tensors.",
                      0,
                      METHODS,
                      SLOTS,
                      nullptr,
                      nullptr,
                      nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&MODULE); }
