// Running a job from Python: the interpreter's lock and the exceptions.
#pragma once
#include "python.hpp"

#include "../core/softmax.hpp"

namespace {

using namespace normkit;

// Calls with fewer elements keep the interpreter's lock: letting it go costs more than they do.
constexpr int64_t RELEASE_FROM = 16 << 10;

PyObject* raise(const Outcome& outcome) {
    PyObject* kind = outcome.kind == Outcome::BAD_JOB      ? PyExc_ValueError
                     : outcome.kind == Outcome::NO_KERNELS ? PyExc_RuntimeError
                                                           : PyExc_MemoryError;
    PyErr_SetString(kind, outcome.message);
    return nullptr;
}

PyObject* run_job(const Job& job, int threads, bool deterministic) {
    Outcome outcome;
    if (job.outer * job.dim * job.inner < RELEASE_FROM) {
        outcome = run(job, threads, deterministic);
    } else {
        PyThreadState* state = PyEval_SaveThread();
        outcome = run(job, threads, deterministic);
        PyEval_RestoreThread(state);
    }
    if (outcome.kind != Outcome::DONE) return raise(outcome);
    Py_RETURN_NONE;
}

}  // namespace
