"""Residual streams of Pre-LN transformers: who writes and reads them, and how they are recentred or compressed."""

from normkit.conversion._streams.compress import compress
from normkit.conversion._streams.recentre import recentre
from normkit.conversion._streams.stack import Stack
from normkit.conversion._streams.survey import is_transformer, survey

__all__ = ["Stack", "compress", "is_transformer", "recentre", "survey"]
