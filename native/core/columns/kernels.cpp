// The column norms' kernels for one instruction set (isa.hpp); all but the table has internal linkage.
#include "job.hpp"
#include "isa.hpp"

#include "backward.hpp"
#include "forward.hpp"

namespace normkit {

extern const ColumnKernels NORMKIT_FOR(columns);
const ColumnKernels NORMKIT_FOR(columns) = {
    {forward<float>, forward<bf16>, forward<f16>},
    {backward<float>, backward<bf16>, backward<f16>},
};

}  // namespace normkit
