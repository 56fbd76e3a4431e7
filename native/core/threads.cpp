#include "threads.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace normkit {
namespace {

bool forked = false;

#if defined(__unix__) || defined(__APPLE__)
void mark_forked() { forked = true; }
const int registered = pthread_atfork(nullptr, nullptr, mark_forked);
#endif

[[maybe_unused]] int64_t boundary(int64_t items, int64_t unit, int64_t part, int64_t parts) {
    const int64_t units = (items + unit - 1) / unit;
    const int64_t at = (units / parts * part + units % parts * part / parts) * unit;
    return at < items ? at : items;
}

}  // namespace

int usable_threads(int wanted) {
#if defined(_OPENMP)
    if (wanted <= 1 || forked || omp_in_parallel()) return 1;
    return wanted;
#else
    (void)wanted;
    return 1;
#endif
}

void share(int64_t items, [[maybe_unused]] int64_t unit, int threads, Task task, void* context) {
    if (threads <= 1) return task(context, 0, items);
#if defined(_OPENMP)
#pragma omp parallel num_threads(threads)
    {
        // The runtime may give fewer threads than asked for.
        const int64_t part = omp_get_thread_num(), parts = omp_get_num_threads();
        const int64_t begin = boundary(items, unit, part, parts), end = boundary(items, unit, part + 1, parts);
        if (begin < end) task(context, begin, end);
    }
#endif
}

const char* threading() {
#if defined(_OPENMP)
    return forked ? "serial: this process was forked from another" : "OpenMP";
#else
    return "serial: built without OpenMP";
#endif
}

}  // namespace normkit
