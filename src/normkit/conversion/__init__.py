"""Conversions: one module per rule; how a conversion is searched, ordered, verified and kept stands in `_framework`."""

from normkit.conversion._framework.convert import convert
from normkit.conversion._framework.pairs import Pairs
from normkit.conversion._framework.replay import load, read_recipe, reload, replay
from normkit.conversion._framework.result import Conversion
from normkit.conversion._framework.rule import Calibrated, Change, Refusal, Rule, Site, rule_from, rules
from normkit.conversion._framework.verify import ConversionError
from normkit.conversion.affine_only import AffineOnly
from normkit.conversion.batch_channel_norm import ToBatchChannelNorm
from normkit.conversion.evonorm import (
    ToEvoNorm,
    ToEvoNormB0,
    ToEvoNormB1,
    ToEvoNormB2,
    ToEvoNormS0,
    ToEvoNormS1,
    ToEvoNormS2,
)
from normkit.conversion.fold import Fold
from normkit.conversion.group_norm import ToGroupNorm
from normkit.conversion.peri_ln import PeriLN
from normkit.conversion.powernorm import ToPowerNorm
from normkit.conversion.pre_crmsnorm import PreCRMSNorm
from normkit.conversion.pre_rmsnorm import PreRMSNorm
from normkit.conversion.unified_norm import ToUnifiedNorm
from normkit.conversion.weight_standardization import ToWeightStandardization

__all__ = [
    "AffineOnly",
    "Calibrated",
    "Change",
    "Conversion",
    "ConversionError",
    "Fold",
    "Pairs",
    "PeriLN",
    "PreCRMSNorm",
    "PreRMSNorm",
    "Refusal",
    "Rule",
    "Site",
    "ToBatchChannelNorm",
    "ToEvoNorm",
    "ToEvoNormB0",
    "ToEvoNormB1",
    "ToEvoNormB2",
    "ToEvoNormS0",
    "ToEvoNormS1",
    "ToEvoNormS2",
    "ToGroupNorm",
    "ToPowerNorm",
    "ToUnifiedNorm",
    "ToWeightStandardization",
    "convert",
    "load",
    "read_recipe",
    "reload",
    "replay",
    "rule_from",
    "rules",
]
