"""Parametrisations of weights: the module computes with the normalised weight, the optimiser moves the free one.

`weight_standardization(module)` and `zero_mean_output(module)` register one on a module that exists, `bake(model)`
makes the result plain again; `WSConv2d` and its kin are layers that have it from the start.

`freeze(model, condition)` chooses which parameters train at all: those of the normalisers alone, the output layer, a
random few of every filter. `affine_state_dict` and `gamma_report` keep and read what the normalisers learned.
"""

from normkit.weights.affine import affine_normalizers, affine_parameters, reinit_affine_
from normkit.weights.affine_state import affine_state_dict, load_affine, load_affine_state_dict, save_affine
from normkit.weights.bake import bake
from normkit.weights.freezing import freeze, keep_statistics, keeps_statistics
from normkit.weights.gamma import gamma_report, prune_disabled
from normkit.weights.random_features import random_features_
from normkit.weights.random_subset import RandomSubset, random_subset, subset_masks
from normkit.weights.standardized_layers import WSConv1d, WSConv2d, WSConv3d, WSLinear
from normkit.weights.weight_standardization import WeightStandardization, weight_standardization
from normkit.weights.zero_mean import ZeroMeanEmbedding, ZeroMeanLinear, ZeroMeanOutput, zero_mean_output

__all__ = [
    "RandomSubset",
    "WSConv1d",
    "WSConv2d",
    "WSConv3d",
    "WSLinear",
    "WeightStandardization",
    "ZeroMeanEmbedding",
    "ZeroMeanLinear",
    "ZeroMeanOutput",
    "affine_normalizers",
    "affine_parameters",
    "affine_state_dict",
    "bake",
    "freeze",
    "gamma_report",
    "keep_statistics",
    "keeps_statistics",
    "load_affine",
    "load_affine_state_dict",
    "prune_disabled",
    "random_features_",
    "random_subset",
    "reinit_affine_",
    "save_affine",
    "subset_masks",
    "weight_standardization",
    "zero_mean_output",
]
