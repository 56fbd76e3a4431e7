// What a build knows of one instruction set: its name, and a table of kernels for each family of operations.
// Plain data: safe to include everywhere.
#pragma once

namespace normkit {

enum Storage : int { FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2, STORAGES };

constexpr long bytes_of(Storage storage) { return storage == FLOAT32 ? 4 : 2; }

struct SoftmaxKernels;       // softmax/job.hpp
struct CrossEntropyKernels;  // cross_entropy/job.hpp
struct ColumnKernels;        // columns/job.hpp
struct NormKernels;          // norms/job.hpp
struct PlanesKernels;        // planes/job.hpp

struct KernelTable {
    const char* name;
    const char* description;
    bool (*supported)();
    int lanes;
    const SoftmaxKernels* softmax;
    const CrossEntropyKernels* cross_entropy;
    const NormKernels* norms;
    const ColumnKernels* columns;
    const PlanesKernels* planes;
};

}  // namespace normkit
