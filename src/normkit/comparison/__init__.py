"""Comparison: the same network under several methods, on the same learning rates and paired seeds."""

from normkit.comparison.interval import Interval, interval
from normkit.comparison.ledger import Run, RunKey
from normkit.comparison.result import Comparison, MethodResult
from normkit.comparison.verb import compare

__all__ = ["Comparison", "Interval", "MethodResult", "Run", "RunKey", "compare", "interval"]
