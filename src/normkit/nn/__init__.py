"""Layers that normalise activations.

Arguments, attributes and `state_dict` names are those of torch's layer where there is one, and of the authors' (or
timm's) where there is none. Statistics are taken in float32 or wider. The contract tests walk `__all__`.
"""

from normkit.nn.batch_channel_norm import BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d
from normkit.nn.crms_norm import CRMSNorm
from normkit.nn.cross_entropy import CrossEntropyLoss
from normkit.nn.est_batch_norm import EstBatchNorm1d, EstBatchNorm2d, EstBatchNorm3d, set_estimate_speed
from normkit.nn.evonorm_b0 import EvoNorm1dB0, EvoNorm2dB0, EvoNorm3dB0
from normkit.nn.evonorm_b1 import EvoNorm1dB1, EvoNorm2dB1, EvoNorm3dB1
from normkit.nn.evonorm_b2 import EvoNorm1dB2, EvoNorm2dB2, EvoNorm3dB2
from normkit.nn.evonorm_s0 import EvoNorm1dS0, EvoNorm2dS0, EvoNorm3dS0
from normkit.nn.evonorm_s0a import EvoNorm1dS0a, EvoNorm2dS0a, EvoNorm3dS0a
from normkit.nn.evonorm_s1 import EvoNorm1dS1, EvoNorm2dS1, EvoNorm3dS1
from normkit.nn.evonorm_s2 import EvoNorm1dS2, EvoNorm2dS2, EvoNorm3dS2
from normkit.nn.graph_norm import GraphNorm2d
from normkit.nn.group_norm import GroupNorm
from normkit.nn.hermite_activation import HermiteActivation, optimal_activation
from normkit.nn.layer_norm import LayerNorm
from normkit.nn.layer_norm_gru import LayerNormGRU, LayerNormGRUCell
from normkit.nn.layer_norm_lstm import LayerNormLSTM, LayerNormLSTMCell
from normkit.nn.layer_norm_rnn import LayerNormRNN, LayerNormRNNCell
from normkit.nn.layerwise_three_layer import LayerwiseThreeLayer
from normkit.nn.power_norm import PowerNorm
from normkit.nn.region_norm import RegionNorm2d
from normkit.nn.rms_norm import RMSNorm
from normkit.nn.rnb import RNB
from normkit.nn.rnl import RNL
from normkit.nn.softmax import LogSoftmax, Softmax
from normkit.nn.standardize_activation import standardize_activation
from normkit.nn.unified_norm import UnifiedNorm, reset_warmup

__all__ = [
    "RNB",
    "RNL",
    "BatchChannelNorm1d",
    "BatchChannelNorm2d",
    "BatchChannelNorm3d",
    "CRMSNorm",
    "CrossEntropyLoss",
    "EstBatchNorm1d",
    "EstBatchNorm2d",
    "EstBatchNorm3d",
    "EvoNorm1dB0",
    "EvoNorm1dB1",
    "EvoNorm1dB2",
    "EvoNorm1dS0",
    "EvoNorm1dS0a",
    "EvoNorm1dS1",
    "EvoNorm1dS2",
    "EvoNorm2dB0",
    "EvoNorm2dB1",
    "EvoNorm2dB2",
    "EvoNorm2dS0",
    "EvoNorm2dS0a",
    "EvoNorm2dS1",
    "EvoNorm2dS2",
    "EvoNorm3dB0",
    "EvoNorm3dB1",
    "EvoNorm3dB2",
    "EvoNorm3dS0",
    "EvoNorm3dS0a",
    "EvoNorm3dS1",
    "EvoNorm3dS2",
    "GraphNorm2d",
    "GroupNorm",
    "HermiteActivation",
    "LayerNorm",
    "LayerNormGRU",
    "LayerNormGRUCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "LayerNormRNN",
    "LayerNormRNNCell",
    "LayerwiseThreeLayer",
    "LogSoftmax",
    "PowerNorm",
    "RMSNorm",
    "RegionNorm2d",
    "Softmax",
    "UnifiedNorm",
    "optimal_activation",
    "reset_warmup",
    "set_estimate_speed",
    "standardize_activation",
]
