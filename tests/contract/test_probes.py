"""Every probe, found by listing: it says what a patient has and nothing else, changes nothing, and speaks JSON."""

import json
from functools import cache

import numpy as np
import pytest
import torch

from normkit.diagnosis import PATIENTS, Diagnosis, ModuleProbe, Probe, diagnose, probes
from normkit.diagnosis import self_test as run_self_test
from tests.diagnosis.fresh import fresh
from tests.diagnosis.networks import same, state

PROBES = probes()


@cache
def _examined(index: int) -> tuple[Diagnosis, bool]:
    """One patient's diagnosis by all probes, and whether the patient is as it was."""
    patient = PATIENTS[index]
    model, data = patient.build(0)
    before = state(model) if data is not None else model.copy()
    diagnosis = diagnose(model, data, max_batches=patient.max_batches)
    return diagnosis, same(before, state(model)) if data is not None else np.array_equal(before, model)


@pytest.mark.parametrize("index", range(len(PATIENTS)), ids=[patient.name for patient in PATIENTS])
def test_exactly_what_the_patient_has_is_said(index: int) -> None:
    diagnosis, unchanged = _examined(index)
    assert {finding.probe for finding in diagnosis.findings if finding.severity == "act"} == PATIENTS[index].has
    assert unchanged


@pytest.mark.parametrize("index", range(len(PATIENTS)), ids=[patient.name for patient in PATIENTS])
def test_the_healthy_are_ok_and_not_only_watched(index: int) -> None:
    if PATIENTS[index].has:
        pytest.skip("a sick patient may be watched for more than it has")
    diagnosis, _ = _examined(index)
    assert {finding.probe: finding.severity for finding in diagnosis.findings if finding.severity != "ok"} == {}


@pytest.mark.parametrize("slug", PROBES)
def test_every_probe_has_a_sick_and_a_healthy_patient(slug: str) -> None:
    assert any(slug in patient.has for patient in PATIENTS)
    found = [index for index, patient in enumerate(PATIENTS) if slug not in patient.has]
    judged = [index for index in found if any(each.probe == slug for each in _examined(index)[0].findings)]
    assert judged, "no healthy patient on which the probe can speak at all"


@pytest.mark.parametrize("slug", PROBES)
def test_findings_are_whole_and_json(slug: str) -> None:
    for index, patient in enumerate(PATIENTS):
        if slug not in patient.has:
            continue
        finding = _examined(index)[0][slug]
        json.dumps(_examined(index)[0].to_dict(), allow_nan=False)
        assert finding.figure > finding.threshold
        assert finding.sites
        assert finding.summary
        assert finding.remedies
        assert finding.remedies[0].python


@pytest.mark.parametrize(("slug", "kind"), PROBES.items())
def test_a_probe_says_what_it_measures_and_from_where_its_threshold_comes(slug: str, kind: type[Probe]) -> None:
    import inspect
    import sys

    text = inspect.getdoc(sys.modules[kind.__module__]) or ""
    assert "**Threshold.**" in text or "threshold" in text.lower()
    assert "arXiv" in text
    assert slug == kind.slug == kind.__module__.rpartition(".")[2].replace("_", "-")
    assert kind.unit
    assert kind.pathology
    assert kind.threshold_source
    assert kind.threshold > 0
    assert kind.needs == {"table"} or kind.needs <= {"data", "loss", "optimizer", "reference"}


@pytest.mark.parametrize(("slug", "kind"), PROBES.items())
def test_a_probe_can_run_alone_and_twice(slug: str, kind: type[Probe]) -> None:
    index = next(index for index, patient in enumerate(PATIENTS) if slug in patient.has)
    patient = PATIENTS[index]
    figures = []
    for _ in range(2):
        model, data = patient.build(0)
        figures.append(diagnose(model, data, probes=[kind], max_batches=patient.max_batches)[slug].figure)
    assert figures[0] == figures[1]
    # Another probe may look at every operation; then torch's kernels serve, which round otherwise than ours.
    assert figures[0] == pytest.approx(_examined(index)[0][slug].figure, rel=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in PROBES.values() if issubclass(kind, ModuleProbe)])
def test_a_probe_on_a_model_that_has_nothing_for_it_is_skipped(kind: type[ModuleProbe]) -> None:
    diagnosis = diagnose(torch.nn.Linear(3, 2), [torch.randn(4, 3)], probes=[kind])
    assert diagnosis.findings == ()
    assert diagnosis.skipped[0].reason


@pytest.mark.slow
def test_the_self_test_is_right() -> None:
    outcome = run_self_test()
    assert outcome.right, outcome.to_dict()
    assert outcome.seconds < 180


@pytest.mark.slow
def test_false_alarms_on_fresh_networks_are_rare() -> None:
    """On ≥ 20 networks as their libraries build them; a redundant mean is no false alarm where a stream is Pre-LN."""
    pytest.importorskip("transformers")
    acts: dict[str, list[str]] = {slug: [] for slug in PROBES}
    names = []
    for name, build in fresh():
        torch.manual_seed(0)
        model, batches = build()
        names.append(name)
        for finding in diagnose(model, batches).findings:
            if finding.severity == "act":
                acts[finding.probe].append(name)
    assert len(names) >= 20
    pre_ln = {"GPT2LMHeadModel", "GPTNeoXForCausalLM", "OPTForCausalLM", "BloomForCausalLM"}
    pre_ln |= {f"{name}ForImageClassification" for name in ("ViT", "DeiT", "Dinov2")}
    assert set(acts.pop("redundant-mean")) == pre_ln | {"nn.TransformerEncoder, norm_first"}
    assert all(len(found) <= len(names) // 10 for found in acts.values()), acts
