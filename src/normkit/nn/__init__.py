"""Layers that normalise activations.

Arguments, attributes and `state_dict` names are those of torch's layer where there is one, and of the authors' (or
timm's) where there is none. Statistics are taken in float32 or wider. The contract tests walk `__all__`.
"""

from normkit.nn.batch_channel_norm import BatchChannelNorm2d
from normkit.nn.crms_norm import CRMSNorm
from normkit.nn.cross_entropy import CrossEntropyLoss
from normkit.nn.est_batch_norm import EstBatchNorm2d, set_estimate_speed
from normkit.nn.evonorm_b0 import EvoNorm2dB0
from normkit.nn.evonorm_s0 import EvoNorm2dS0
from normkit.nn.group_norm import GroupNorm
from normkit.nn.layer_norm import LayerNorm
from normkit.nn.region_norm import RegionNorm2d
from normkit.nn.rms_norm import RMSNorm
from normkit.nn.rnb import RNB
from normkit.nn.rnl import RNL
from normkit.nn.softmax import LogSoftmax, Softmax

__all__ = [
    "RNB",
    "RNL",
    "BatchChannelNorm2d",
    "CRMSNorm",
    "CrossEntropyLoss",
    "EstBatchNorm2d",
    "EvoNorm2dB0",
    "EvoNorm2dS0",
    "GroupNorm",
    "LayerNorm",
    "LogSoftmax",
    "RMSNorm",
    "RegionNorm2d",
    "Softmax",
    "set_estimate_speed",
]
