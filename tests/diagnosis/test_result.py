import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from normkit.diagnosis import Diagnosis, Finding, Remedy, Site, Skipped, diagnose
from tests.diagnosis.networks import convnet, images


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return diagnose(convnet(), images(1, 100), max_batches=100)


def test_json_has_the_keys_of_the_contract(diagnosis: Diagnosis) -> None:
    payload = json.loads(diagnosis.to_json())
    assert {"schema", "versions", "device", "seconds", "findings", "skipped", "treatment"} <= payload.keys()
    finding = payload["findings"][0]
    keys = {"probe", "severity", "sites", "figure", "unit", "threshold", "threshold_source", "remedies"}
    assert keys <= finding.keys()
    assert {"path", "figure", "severity"} <= finding["sites"][0].keys()
    assert {"to", "kind", "python", "shell"} == finding["remedies"][0].keys()
    assert payload["treatment"] is None
    assert all({"probe", "reason"} == each.keys() for each in payload["skipped"])


def test_remedies_stand_in_order_of_cost_and_name_a_line_each(diagnosis: Diagnosis) -> None:
    remedies = diagnosis["batch-noise"].remedies
    kinds = [("exact", "calibrated", "fresh", "advice").index(remedy.kind) for remedy in remedies]
    assert kinds == sorted(kinds)
    assert remedies[0].name == "weight-standardization,batch-channel-norm"
    assert '["weight-standardization", "batch-channel-norm"]' in remedies[0].python
    assert remedies[0].shell.startswith("normkit convert --model")


def test_the_shell_line_takes_the_readers_own_model(diagnosis: Diagnosis) -> None:
    mine = diagnosis.for_model("--model my.net:build")
    assert mine["batch-noise"].remedies[0].shell.startswith("normkit convert --model my.net:build ")


def test_frame_has_one_row_a_place(diagnosis: Diagnosis) -> None:
    frame = diagnosis.to_frame()
    assert len(frame) == sum(len(finding.sites) for finding in diagnosis.findings)
    assert {"probe", "path", "figure", "severity", "unit", "threshold"} <= set(frame.columns)


def test_severity_and_reaches(diagnosis: Diagnosis) -> None:
    assert diagnosis.severity == "act"
    assert diagnosis.reaches("watch")
    assert diagnosis.reaches("act")
    assert not Diagnosis(()).reaches("watch")
    with pytest.raises(ValueError, match="must be one of ok, watch, act"):
        diagnosis.reaches("bad")


def test_a_probe_that_did_not_run_says_why() -> None:
    diagnosis = Diagnosis((), (Skipped("precision", "no softmax"),))
    with pytest.raises(KeyError, match="precision: no softmax"):
        diagnosis["precision"]
    with pytest.raises(KeyError, match="not asked for"):
        diagnosis["elimination"]


def test_a_figure_that_is_no_number_is_the_worst() -> None:
    sites = (Site("a", 1.0, "act"), Site("b", float("nan"), "act"), Site("c", 9.0, "ok"))
    finding = Finding("p", "act", sites, 0.0, "", 1.0, "")
    assert finding.worst_site is sites[1]
    assert Diagnosis((finding,)).to_dict()["findings"][0]["sites"][1]["figure"] == "nan"


def test_the_terminal_shows_probe_severity_and_the_line_that_helps(diagnosis: Diagnosis) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(diagnosis)
    text = console.export_text()
    assert "batch-noise" in text
    assert "act" in text
    assert "normkit.convert" in text


def test_the_report_is_one_page_with_a_figure_for_each_finding(diagnosis: Diagnosis, tmp_path: Path) -> None:
    page = diagnosis.report(tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 1
    assert "batch-noise" in page
    assert "src=" not in page.replace("data:", "")
    for finding in diagnosis.findings:
        assert finding.probe in page


def test_advice_needs_no_shell() -> None:
    assert Remedy(("float32-softmax",), "advice", "x").to_dict() == {
        "to": "float32-softmax",
        "kind": "advice",
        "python": "x",
        "shell": "",
    }
