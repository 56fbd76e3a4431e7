"""weight_standardize of convolution weights, against the plain formula and the cost of timm's batch_norm trick."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit import functional as F
from normkit.benchmarks._harness.bar import Bar, large, never_slower, quick_on_gpu
from normkit.benchmarks._harness.gpu_scenes import gpu_scenes
from normkit.benchmarks._harness.inputs import normal
from normkit.benchmarks._harness.suite import Peer, Suite

__all__ = ["suite"]


def _weight_standardize(weight: Float[Tensor, "o i h w"], **options: Any) -> Any:
    return F.weight_standardize(weight, **options)


def _plain(weight: Float[Tensor, "o i h w"]) -> Float[Tensor, "o i h w"]:
    deviation, mean = torch.std_mean(weight, dim=(1, 2, 3), keepdim=True)
    return (weight - mean) / (deviation + 1e-5)


def _batch_norm_trick(weight: Float[Tensor, "o i h w"]) -> Float[Tensor, "o i h w"]:
    """Filters as channels of one batch: batch_norm standardises them (biased variance, eps inside the root)."""
    flat = weight.reshape(1, weight.shape[0], -1)
    return torch.nn.functional.batch_norm(flat, None, None, training=True, eps=1e-6).reshape(weight.shape)


suite = Suite(
    op="weight_standardize",
    family="weight",
    public=_weight_standardize,
    reference=_plain,
    peers=(Peer("torch", _plain), Peer("timm.StdConv2d", _batch_norm_trick, same=False)),
    inputs=normal,
    shapes=((8, 4, 3, 3), (64, 64, 1, 1), (64, 64, 3, 3), (512, 512, 3, 3), (2048, 512, 1, 1)),
    user_shapes=((256, 256, 3, 3),),
    quick_shapes=((16, 16, 3, 3),),
    backward_shapes=((8, 4, 3, 3), (64, 64, 3, 3), (512, 512, 3, 3)),
    bars=(*never_slower(), Bar(8.0, where=large), Bar(3.0, to="timm.StdConv2d", where=large)),
    on_gpu=gpu_scenes((64, 64, 3, 3), (2048, 2048, 3, 3)),
    bars_on_gpu=(quick_on_gpu(),),
)
