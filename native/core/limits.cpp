#include "limits.hpp"

#include "memory.hpp"

namespace normkit {

Thresholds& thresholds() {
    static Thresholds table;
    return table;
}

int64_t cache_bytes() { return thresholds().cache_bytes ? thresholds().cache_bytes : last_level_cache(); }

bool overflows_cache(int64_t bytes) { return bytes > cache_bytes() / 2; }

}  // namespace normkit
