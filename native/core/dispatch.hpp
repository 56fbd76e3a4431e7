// Which instruction set's kernels run: the best that the processor has, or the one NORMKIT_ISA names.
#pragma once
#include "table.hpp"

namespace normkit {

// All implementations in this build, best first; ends with a null pointer.
const KernelTable* const* implementations();

// The active one. The first call chooses it; null if NORMKIT_ISA names one that cannot run (see dispatch_error).
const KernelTable* active_kernels();

// Makes the named implementation active for all later calls; false, and a dispatch_error, if it cannot run.
bool use_kernels(const char* name);

// One sentence about the last refusal; empty if there was none.
const char* dispatch_error();

}  // namespace normkit
