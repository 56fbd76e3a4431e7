"""One module per paper: what it claims and the runs that check it; the list of papers is this folder.

A module defines `paper = Paper(slug=…, nuisance=…, pathology=…, remedy=…, provides=(…), …)`, marks its runs with
`@paper.run`, its one judge with `@paper.judge`, and its exact invariances with `@paper.invariance`. `reproduce(slug)`
does the rest. Third parties register a `Paper` of their own through the entry-point group `normkit.papers`.
"""

from normkit.papers._harness.claim import Claim, Ledger
from normkit.papers._harness.everything import Outcome, reproduce_all
from normkit.papers._harness.evidence import Evidence, Show
from normkit.papers._harness.paper import SCALES, Context, Invariance, Paper, Run
from normkit.papers._harness.records import Records
from normkit.papers._harness.registry import get, papers
from normkit.papers._harness.reproduce import reproduce
from normkit.papers._harness.runs import RunError

__all__ = [
    "SCALES",
    "Claim",
    "Context",
    "Evidence",
    "Invariance",
    "Ledger",
    "Outcome",
    "Paper",
    "Records",
    "Run",
    "RunError",
    "Show",
    "get",
    "papers",
    "reproduce",
    "reproduce_all",
]
