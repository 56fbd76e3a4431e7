#include "dispatch.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace normkit {

extern const KernelTable kernels_portable;
#if defined(NORMKIT_HAS_X86_KERNELS)
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
#endif
#if defined(NORMKIT_HAS_NEON_KERNELS)
extern const KernelTable kernels_neon;
#endif

namespace {

const KernelTable* const TABLES[] = {
#if defined(NORMKIT_HAS_X86_KERNELS)
    &kernels_avx512, &kernels_avx2,
#endif
#if defined(NORMKIT_HAS_NEON_KERNELS)
    &kernels_neon,
#endif
    &kernels_portable, nullptr};

std::atomic<const KernelTable*> active{nullptr};
std::mutex choosing;
char error[512] = "";

const KernelTable* find(const char* name) {
    for (const KernelTable* const* table = TABLES; *table; ++table) {
        if (std::strcmp((*table)->name, name) == 0) return *table;
    }
    return nullptr;
}

const KernelTable* best() {
    const KernelTable* const* table = TABLES;
    while (!(*table)->supported()) ++table;  // the portable one always is
    return *table;
}

void refuse(const char* name, const char* origin, bool known) {
    char usable[128] = "";
    for (const KernelTable* const* table = TABLES; *table; ++table) {
        if (!(*table)->supported()) continue;
        if (usable[0]) std::strncat(usable, ", ", sizeof usable - std::strlen(usable) - 1);
        std::strncat(usable, (*table)->name, sizeof usable - std::strlen(usable) - 1);
    }
    std::snprintf(error, sizeof error, "%s%.40s: %s; this machine can run: %s", origin, name,
                  known ? "this processor lacks these instructions" : "this build has no such instruction set", usable);
}

// The table of that name if it can run here, else null and an error.
const KernelTable* usable(const char* name, const char* origin) {
    const KernelTable* table = find(name);
    if (table && table->supported()) return table;
    refuse(name, origin, table != nullptr);
    return nullptr;
}

}  // namespace

const KernelTable* const* implementations() { return TABLES; }

const KernelTable* active_kernels() {
    if (const KernelTable* table = active.load(std::memory_order_acquire)) return table;
    const std::lock_guard<std::mutex> lock(choosing);
    if (const KernelTable* table = active.load(std::memory_order_acquire)) return table;
    const char* forced = std::getenv("NORMKIT_ISA");
    const KernelTable* table = forced && *forced ? usable(forced, "NORMKIT_ISA=") : best();
    active.store(table, std::memory_order_release);
    return table;
}

bool use_kernels(const char* name) {
    const std::lock_guard<std::mutex> lock(choosing);
    const KernelTable* table = usable(name, "instruction set ");
    if (table) active.store(table, std::memory_order_release);
    return table != nullptr;
}

const char* dispatch_error() { return error; }

}  // namespace normkit
