// Cross-entropy's kernels for one instruction set (isa.hpp); all but the table has internal linkage.
#include "job.hpp"
#include "isa.hpp"

#include "both.hpp"

namespace normkit {

extern const CrossEntropyKernels NORMKIT_FOR(cross_entropy);
const CrossEntropyKernels NORMKIT_FOR(cross_entropy) = {
    {losses<float>, losses<bf16>, losses<f16>},
    {gradients<float>, gradients<bf16>, gradients<f16>},
    {losses_and_gradients<float>, losses_and_gradients<bf16>, losses_and_gradients<f16>},
};

}  // namespace normkit
