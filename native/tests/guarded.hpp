// What the core's tests share: a count of failures, and memory that ends at pages that may not be touched.
#pragma once
#include <cstdio>
#include <limits>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "dispatch.hpp"

using namespace normkit;

namespace {

int failures = 0;

void check(bool holds, const std::string& what) {
    if (holds) return;
    ++failures;
    std::printf("FAILED [%s] %s\n", active_kernels()->name, what.c_str());
}

// `count` floats between two pages that may not be touched, against the upper one or just above the lower one.
class Guarded {
public:
    Guarded(size_t count, bool at_end) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
        const size_t bytes = count * sizeof(float);
        inner_ = (bytes + page_ - 1) / page_ * page_ + page_;
        base_ = static_cast<char*>(
            mmap(nullptr, inner_ + 2 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        mprotect(base_, page_, PROT_NONE);
        mprotect(base_ + page_ + inner_, page_, PROT_NONE);
        start_ = reinterpret_cast<float*>(at_end ? base_ + page_ + inner_ - bytes : base_ + page_);
        for (size_t i = 0; i < count; ++i) start_[i] = std::numeric_limits<float>::quiet_NaN();
    }
    ~Guarded() { munmap(base_, inner_ + 2 * page_); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    float* get() const { return start_; }

private:
    size_t page_, inner_;
    char* base_;
    float* start_;
};

// Runs the tests under every instruction set that the processor has; the exit status.
[[maybe_unused]] int run_everywhere(void (*tests)()) {
    for (const KernelTable* const* table = implementations(); *table; ++table) {
        if (!(*table)->supported()) {
            std::printf("%s: not on this processor\n", (*table)->name);
            continue;
        }
        use_kernels((*table)->name);
        tests();
        std::printf("%s: %d failures\n", (*table)->name, failures);
    }
    return failures ? 1 : 0;
}

}  // namespace
