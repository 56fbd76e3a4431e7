"""Parametrisations of weights: the module computes with the normalised weight, the optimiser moves the free one.

`weight_standardization(module)` and `zero_mean_output(module)` register one on a module that exists, `bake(model)`
makes the result plain again; `WSConv2d` and its kin are layers that have it from the start.
"""

from normkit.weights.bake import bake
from normkit.weights.standardized_layers import WSConv1d, WSConv2d, WSConv3d, WSLinear
from normkit.weights.weight_standardization import WeightStandardization, weight_standardization
from normkit.weights.zero_mean import ZeroMeanEmbedding, ZeroMeanLinear, ZeroMeanOutput, zero_mean_output

__all__ = [
    "WSConv1d",
    "WSConv2d",
    "WSConv3d",
    "WSLinear",
    "WeightStandardization",
    "ZeroMeanEmbedding",
    "ZeroMeanLinear",
    "ZeroMeanOutput",
    "bake",
    "weight_standardization",
    "zero_mean_output",
]
