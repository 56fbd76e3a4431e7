"""Surgery: find modules and what reads them, copy, replace and rewrite, without disturbing what was not asked for."""

from normkit.surgery.activations import is_activation
from normkit.surgery.copying import copy
from normkit.surgery.fast_path import close_fast_path, close_nested_path
from normkit.surgery.find import Found, find, paths, submodule, ties
from normkit.surgery.flow import Flow, Step, is_leaf
from normkit.surgery.replace import replace
from normkit.surgery.residual import is_vector_norm, residuals
from normkit.surgery.rewrite import bypass
from normkit.surgery.sub_layer import Residuals, SubLayer
from normkit.surgery.tracing import call, trace
from normkit.surgery.zero_mean import compress_reader, compress_writer, recentre

__all__ = [
    "Flow",
    "Found",
    "Residuals",
    "Step",
    "SubLayer",
    "bypass",
    "call",
    "close_fast_path",
    "close_nested_path",
    "compress_reader",
    "compress_writer",
    "copy",
    "find",
    "is_activation",
    "is_leaf",
    "is_vector_norm",
    "paths",
    "recentre",
    "replace",
    "residuals",
    "submodule",
    "ties",
    "trace",
]
