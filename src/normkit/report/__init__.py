"""How results reach a person or a program: one self-contained HTML page, house-style figures, one JSON envelope."""

from normkit.report.envelope import SCHEMA, envelope, jsonable, machine, versions
from normkit.report.figure import COLORS, new_figure, svg
from normkit.report.page import Report
from normkit.report.plain import plain

__all__ = ["COLORS", "SCHEMA", "Report", "envelope", "jsonable", "machine", "new_figure", "plain", "svg", "versions"]
