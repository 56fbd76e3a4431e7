#include "memory.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace normkit {
namespace {

constexpr int64_t MIB = 1 << 20;
constexpr int64_t ASSUMED_CACHE = 8 * MIB;
constexpr uintptr_t HUGE_PAGE = 2 * MIB;

int64_t system_value(int name) {
#if defined(__unix__) || defined(__APPLE__)
    return static_cast<int64_t>(sysconf(name));
#else
    (void)name;
    return 0;
#endif
}

int64_t measure_cache() {
    int64_t reported = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    reported = system_value(_SC_LEVEL3_CACHE_SIZE);
#endif
    if (reported <= 0) return ASSUMED_CACHE;
    int64_t processors = 1;
#if defined(_SC_NPROCESSORS_ONLN)
    processors = system_value(_SC_NPROCESSORS_ONLN);
#endif
    const int64_t cap = ASSUMED_CACHE * (processors > 0 ? processors : 1);
    return reported < cap ? reported : cap;
}

struct Scratch {
    void* start = nullptr;
    size_t count = 0;
    ~Scratch() { std::free(start); }
};

#if defined(__linux__)
bool huge_pages_allowed() {
    char text[64] = "";
    if (std::FILE* file = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r")) {
        const size_t read = std::fread(text, 1, sizeof text - 1, file);
        text[read] = '\0';
        std::fclose(file);
    }
    return text[0] != '\0' && std::strstr(text, "[never]") == nullptr;
}
#endif

}  // namespace

int64_t last_level_cache() {
    static const int64_t bytes = measure_cache();
    return bytes;
}

float* scratch_rows(size_t count) {
    thread_local Scratch scratch;
    if (scratch.count < count) {
        std::free(scratch.start);
        scratch.start = std::malloc(count * sizeof(float) + 63);
        scratch.count = scratch.start ? count : 0;
        if (!scratch.start) return nullptr;
    }
    const uintptr_t address = (reinterpret_cast<uintptr_t>(scratch.start) + 63) & ~static_cast<uintptr_t>(63);
    return reinterpret_cast<float*>(address);
}

bool advise_huge_pages(void* start, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    static const bool allowed = huge_pages_allowed();
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(start) + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    const uintptr_t end = (reinterpret_cast<uintptr_t>(start) + bytes) & ~(HUGE_PAGE - 1);
    if (!allowed || end <= begin) return false;
    return madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE) == 0;
#else
    (void)start;
    (void)bytes;
    return false;
#endif
}

}  // namespace normkit
