// Running a job from Python: the interpreter's lock and the exceptions.
#pragma once
#include "python.hpp"

#include "limits.hpp"
#include "softmax/softmax.hpp"

namespace {

using namespace normkit;

// Calls with fewer elements keep the interpreter's lock: letting it go costs more than they do.
constexpr int64_t RELEASE_FROM = 16 << 10;

PyObject* raise(const Outcome& outcome) {
    PyObject* kind = outcome.kind == Outcome::BAD_JOB      ? PyExc_ValueError
                     : outcome.kind == Outcome::BAD_INDEX  ? PyExc_IndexError
                     : outcome.kind == Outcome::NO_KERNELS ? PyExc_RuntimeError
                                                           : PyExc_MemoryError;
    PyErr_SetString(kind, outcome.message);
    return nullptr;
}

// None, or the exception that says how `work()`, an Outcome, went wrong; without the interpreter's lock if it is large.
template <class Work>
PyObject* outcome_of(int64_t elements, Work work) {
    Outcome outcome;
    if (elements < RELEASE_FROM) {
        outcome = work();
    } else {
        PyThreadState* state = PyEval_SaveThread();
        outcome = work();
        PyEval_RestoreThread(state);
    }
    if (outcome.kind != Outcome::DONE) return raise(outcome);
    Py_RETURN_NONE;
}

PyObject* run_job(const Job& job, int threads, bool deterministic) {
    return outcome_of(job.outer * job.dim * job.inner, [&] { return run(job, threads, deterministic); });
}

}  // namespace
