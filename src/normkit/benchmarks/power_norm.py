"""PowerNorm in training, after its warm-up, against its formulas in torch and the cost of the norms it stands for."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, alone_on_gpu, large
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes
from normkit.benchmarks._harness.inputs import channel_parameters, normal
from normkit.benchmarks._harness.replaced import replaced_norms
from normkit.benchmarks._harness.suite import Inputs, Peer, Suite

__all__ = ["suite"]


def _inputs(shape: tuple[int, ...], generator: torch.Generator) -> Inputs:
    return (*normal(shape, generator), *channel_parameters(shape[-1], 2, generator))


def _power_norm(
    x: Float[Tensor, "*rows c"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], **options: Any
) -> Any:
    """One training step of a layer whose running statistics have just been made."""
    phi, gz = torch.ones_like(weight.detach()), torch.full_like(weight.detach(), 0.1)
    return F.power_norm(x, weight, bias, phi, gz, torch.tensor(9), True, warmup_iters=8, **options)


def _eager(
    x: Float[Tensor, "*rows c"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"]
) -> Float[Tensor, "*rows c"]:
    return _power_norm(x, weight, bias, kernel="reference")


suite = Suite(
    op="power_norm",
    family="layer",
    public=_power_norm,
    reference=_eager,
    peers=(Peer("eager", _eager), *replaced_norms()),
    inputs=_inputs,
    shapes=((16, 32), (384, 48), (512, 512), (4096, 1024)),
    user_shapes=((384, 48), (512, 512), (4096, 1024), (8, 128, 768)),
    quick_shapes=((64, 128),),
    bars=(
        Bar(1 / 1.05, to="eager", parallel=None),
        Bar(1.0, to="eager", mode="fwd+bwd", parallel=None),
        Bar(4.0, to="eager", mode="fwd+bwd", where=large),
    ),
    on_gpu=gpu_scenes((64, 1024), (32768, 1024)),
    bars_on_gpu=alone_on_gpu("eager"),
)
