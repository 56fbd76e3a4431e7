"""Pure differentiable functions; nothing is stored.

Each module holds one function with torch's own signature where torch has a twin, then keyword-only `kernel=None` (which
kernel must compute it) and `out=None`, and its `Op` constant, which drives kernel choice, tests and benchmarks.
"""

from normkit.functional.batch_channel_norm import batch_channel_norm
from normkit.functional.crms_norm import crms_norm
from normkit.functional.cross_entropy import cross_entropy
from normkit.functional.evonorm_b0 import evonorm_b0
from normkit.functional.evonorm_b1 import evonorm_b1
from normkit.functional.evonorm_b2 import evonorm_b2
from normkit.functional.evonorm_s0 import evonorm_s0
from normkit.functional.evonorm_s1 import evonorm_s1
from normkit.functional.evonorm_s2 import evonorm_s2
from normkit.functional.group_norm import group_norm
from normkit.functional.layer_norm import layer_norm
from normkit.functional.log_softmax import log_softmax
from normkit.functional.logsumexp import logsumexp
from normkit.functional.power_norm import power_norm
from normkit.functional.region_norm import region_norm
from normkit.functional.rms_norm import rms_norm
from normkit.functional.softmax import softmax
from normkit.functional.softmax_pair import merge_pairs, softmax_pair
from normkit.functional.unified_norm import unified_norm
from normkit.functional.weight_standardize import weight_standardize

__all__ = [
    "batch_channel_norm",
    "crms_norm",
    "cross_entropy",
    "evonorm_b0",
    "evonorm_b1",
    "evonorm_b2",
    "evonorm_s0",
    "evonorm_s1",
    "evonorm_s2",
    "group_norm",
    "layer_norm",
    "log_softmax",
    "logsumexp",
    "merge_pairs",
    "power_norm",
    "region_norm",
    "rms_norm",
    "softmax",
    "softmax_pair",
    "unified_norm",
    "weight_standardize",
]
