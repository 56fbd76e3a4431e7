// A torch tensor's address, type, shape and strides through DLPack's C exchange table: a tenth of what asking for them
// one by one costs. The table is plain C and part of the DLPack standard (1.2), so nothing of torch is needed to build
// this; torch offers it from 2.10 on as `torch.Tensor.__dlpack_c_exchange_api__`.
#pragma once
#include "python.hpp"

#include <stdint.h>

#include "table.hpp"

namespace {

struct DlpackTensor {
    void* data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    const int64_t* shape;
    const int64_t* strides;
    uint64_t byte_offset;
};

struct DlpackExchange {
    uint32_t major, minor;
    const void* previous;
    void* allocate;
    void* from_object;
    void* to_object;
    int (*view)(PyObject* tensor, DlpackTensor* view);  // may be null; raises a Python exception on failure
    void* stream;
};

// A dense tensor on the CPU as (count, size, inner), `size` the axis that is normalised; inner == 1: the last.
struct DenseRows {
    char* data;
    int64_t count, size, inner;
    normkit::Storage storage;

    int64_t elements() const { return count * size * inner; }
    int64_t bytes() const { return elements() * (storage == normkit::FLOAT32 ? 4 : 2); }
};

bool is_cpu_float32(const DlpackTensor& view) {
    constexpr int32_t CPU = 1;
    constexpr uint8_t FLOAT = 2;
    return view.data && view.device_type == CPU && view.code == FLOAT && view.bits == 32 && view.lanes == 1;
}

// How its numbers are stored; STORAGES if in no way that the kernels take.
normkit::Storage storage_of(const DlpackTensor& view) {
    constexpr int32_t CPU = 1;
    constexpr uint8_t FLOAT = 2, BFLOAT = 4;
    if (!view.data || view.device_type != CPU || view.lanes != 1) return normkit::STORAGES;
    if (view.code == FLOAT && view.bits == 32) return normkit::FLOAT32;
    if (view.code == BFLOAT && view.bits == 16) return normkit::BFLOAT16;
    return view.code == FLOAT && view.bits == 16 ? normkit::FLOAT16 : normkit::STORAGES;
}

// A dense one-dimensional int64 tensor of `count` elements on the CPU; null if it is none.
const int64_t* dense_indices(int (*look)(PyObject*, DlpackTensor*), PyObject* tensor, int64_t count) {
    DlpackTensor view;
    if (look(tensor, &view) != 0) {
        PyErr_Clear();
        return nullptr;
    }
    const bool fits = view.data && view.device_type == 1 && view.code == 0 && view.bits == 64 && view.lanes == 1 &&
                      view.ndim == 1 && view.shape[0] == count && (count == 1 || !view.strides || view.strides[0] == 1);
    return fits ? reinterpret_cast<const int64_t*>(static_cast<char*>(view.data) + view.byte_offset) : nullptr;
}

// False, without an exception, if the object is no such tensor or is empty. (While vmap or torch.func is at work,
// torch's wrappers have no memory to view.)
bool dense_rows(int (*look)(PyObject*, DlpackTensor*), PyObject* tensor, DenseRows& rows, int64_t dim = -1) {
    DlpackTensor view;
    if (look(tensor, &view) != 0) {
        PyErr_Clear();
        return false;
    }
    rows.storage = storage_of(view);
    if (dim < 0) dim += view.ndim;
    if (rows.storage == normkit::STORAGES || dim < 0 || dim >= view.ndim) return false;
    int64_t elements = 1;
    rows.inner = 1;
    for (int32_t axis = view.ndim - 1; axis >= 0; --axis) {
        if (view.strides && view.shape[axis] != 1 && view.strides[axis] != elements) return false;
        elements *= view.shape[axis];
        if (axis > dim) rows.inner *= view.shape[axis];
    }
    if (elements == 0) return false;
    rows.data = static_cast<char*>(view.data) + view.byte_offset;
    rows.size = view.shape[dim];
    rows.count = elements / (rows.size * rows.inner);
    return true;
}

}  // namespace
