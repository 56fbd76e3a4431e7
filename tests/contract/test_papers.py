"""Every paper, found by listing: whole metadata, names that resolve, a smoke run, valid JSON, its invariances."""

import json
import re
from types import SimpleNamespace

import pytest

from normkit import listing
from normkit.papers import Paper, papers, reproduce
from normkit.report import envelope

PAPERS = papers()
CLAIM_KEYS = {"statement", "bound", "measured", "n", "holds", "reason", "source"}
each_paper = pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.slug)


@each_paper
def test_metadata_is_whole(paper: Paper):
    for name in ("slug", "title", "nuisance", "pathology", "remedy"):
        assert getattr(paper, name).strip(), f"{paper.slug} has no {name}"
    assert paper.authors
    assert 1900 < paper.year < 2100
    assert paper.arxiv is None or re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv)
    assert paper.provides, f"{paper.slug} provides nothing"
    assert paper.judge_function is not None
    assert {"smoke", "embedded"} <= {run.scale for run in paper.runs}


@pytest.mark.parametrize("name", listing.names("normkit.papers"))
def test_the_module_bears_the_papers_name(name: str):
    paper = listing.load(f"normkit.papers.{name}").paper
    assert paper.slug == name.replace("_", "-")


@pytest.mark.parametrize("dotted", sorted({name for paper in PAPERS for name in paper.provides}))
def test_what_a_paper_provides_is_there(dotted: str):
    assert listing.load(dotted) is not None
    assert dotted.startswith("normkit.")


@each_paper
def test_its_probe_and_its_rule_are_there(paper: Paper):
    if paper.probe is not None:
        assert paper.probe in listing.load("normkit.diagnosis.probes")()
    if paper.rule is not None:
        assert paper.rule in listing.load("normkit.conversion.rules")()


@each_paper
def test_its_runs_keep_the_budget_they_state(paper: Paper):
    smoke = sum(run.minutes * run.seeds for run in paper.runs_at("smoke"))
    assert smoke <= 3 / 60
    assert all(run.minutes <= 3 for run in paper.runs_at("embedded"))


@each_paper
def test_the_whole_way_runs_at_smoke_scale(paper: Paper, tmp_path):
    evidence = reproduce(paper, scale="smoke", out=tmp_path)
    assert evidence.claims
    assert all(claim.holds is None and claim.reason for claim in evidence.claims)
    payload = json.loads((tmp_path / paper.slug / "evidence.json").read_text())
    assert (payload["slug"], payload["scale"]) == (paper.slug, "smoke")
    assert all(claim.keys() == CLAIM_KEYS for claim in payload["claims"])
    assert all(len(claim["bound"]) == 1 and claim["source"] for claim in payload["claims"])
    assert all((claim["n"] >= 1) is (claim["measured"] is not None) for claim in payload["claims"])
    json.dumps(envelope(evidence.to_dict(), seconds=0.0), allow_nan=False)
    page = (tmp_path / paper.slug / "report.html").read_text()
    assert "<table" in page
    assert "<svg" in page, f"{paper.slug} shows no figure"


@pytest.mark.parametrize(
    "case",
    [SimpleNamespace(slug=p.slug, invariance=i) for p in PAPERS for i in p.invariances],
    ids=lambda case: f"{case.slug}-{case.invariance.function.__name__}",
)
def test_the_remedy_is_blind_to_its_nuisance(case):
    for seed in range(5):
        assert case.invariance.gap(seed) <= case.invariance.tolerance
