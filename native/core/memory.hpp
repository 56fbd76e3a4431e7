// What the kernels need to know of the machine's memory.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace normkit {

// Bytes of last-level cache to count on: what the system reports, at most 8 MiB for each processor it has (virtual
// machines report a cache that they share with strangers), 8 MiB where it reports nothing.
int64_t last_level_cache();

// This thread's scratch: at least `count` floats on a cache line's boundary, kept until the thread ends; null if
// there is no memory.
float* scratch_rows(size_t count);

// Asks the system to back the whole huge pages inside [start, start + bytes) by huge pages before they are first
// written. False where it cannot: not Linux, switched off, or no whole huge page inside.
bool advise_huge_pages(void* start, size_t bytes);

}  // namespace normkit
