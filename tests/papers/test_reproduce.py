import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from normkit.papers import RunError, reproduce, reproduce_all
from tests.papers import toy
from tests.papers.toy import paper

ROOT = Path(__file__).resolve().parents[2]


def test_smoke_measures_and_judges_nothing():
    evidence = reproduce(paper, scale="smoke")
    assert [claim.holds for claim in evidence.claims] == [None] * 4
    assert evidence.claims[0].measured is not None
    assert evidence.records.seeds == 1


def test_embedded_judges_claims_and_prints_those_that_fail():
    evidence = reproduce(paper, n_jobs=1)
    assert [claim.holds for claim in evidence.claims] == [True, False, None, True]
    assert [claim.statement for claim in evidence.failed] == ["the mean is above its own range"]
    assert evidence.records.distinct("seed") == [0, 1, 2]
    assert evidence.claims[0].n == 3
    assert evidence.claims[3].statement.startswith("The direction does not depend on the length")


def test_a_seed_gives_the_same_figures_and_another_seed_others():
    def means(seed):
        return reproduce(paper, seed=seed, n_jobs=1).records.values("mean")

    assert means(0) == means(0)
    assert means(1)[:2] == means(0)[1:]
    assert not set(means(10)) & set(means(0))


def test_processes_give_the_figures_of_one_process():
    alone, together = (reproduce(paper, n_jobs=jobs) for jobs in (1, 2))
    assert together.records == alone.records
    assert together.records.values("threads") == [1, 1, 1]


def test_the_caller_finds_generators_and_threads_as_they_were():
    # Python's own generator is left out: the run-time type checks of the tests draw from it.
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()

    before, threads = state(), torch.get_num_threads()
    reproduce(paper, scale="smoke")
    assert state() == before
    assert torch.get_num_threads() == threads


def test_a_stopped_job_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv(toy.FAIL, "2")
    with pytest.raises(RunError, match="toy: draw, seed 2: ArithmeticError: asked to fail"):
        reproduce(paper, out=tmp_path, n_jobs=1)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert sorted(path.name for path in kept) == ["embedded-draw-seed0.json", "embedded-draw-seed1.json"]
    monkeypatch.delenv(toy.FAIL)
    steps = []
    evidence = reproduce(paper, out=tmp_path, n_jobs=1, progress=lambda *step: steps.append(step))
    assert steps == [(2, 3), (3, 3)]
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert evidence.records == reproduce(paper, n_jobs=1).records


def test_figures_of_other_code_or_a_broken_file_are_measured_again(tmp_path):
    reproduce(paper, out=tmp_path, n_jobs=1)
    first, second, third = sorted((tmp_path / "toy" / "records").iterdir())
    stale = json.loads(first.read_text()) | {"fingerprint": "other"}
    first.write_text(json.dumps(stale))
    second.write_text("{half")
    third.write_text(json.dumps({"another": "layout"}))
    steps = []
    reproduce(paper, out=tmp_path, n_jobs=1, progress=lambda *step: steps.append(step))
    assert steps[0] == (0, 3)
    assert json.loads(first.read_text())["fingerprint"] != "other"


def test_out_holds_the_evidence_and_the_report(tmp_path):
    evidence = reproduce(paper, scale="smoke", out=tmp_path)
    written = json.loads((tmp_path / "toy" / "evidence.json").read_text())
    assert written["claims"] == evidence.to_dict()["claims"]
    assert {"schema", "versions", "device", "seconds"} <= written.keys()
    page = (tmp_path / "toy" / "report.html").read_text()
    assert "On Toys" in page
    assert "<svg" in page
    assert "wishful thinking" in page


def test_bad_arguments_say_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="'large' is none of smoke, embedded, full"):
        reproduce(paper, scale="large")
    with pytest.raises(ValueError, match="toy has no run at scale 'full'; it has: embedded, smoke"):
        reproduce(paper, scale="full")
    with pytest.raises(ValueError, match="no judge"):
        reproduce(_with_run(lambda ctx: [], judge=False), scale="smoke")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="file"):
        reproduce(paper, scale="smoke", out=blocked)


@pytest.mark.parametrize("result", [None, {"a": 1}, [1.0], [{"loss": torch.ones(())}]])
def test_a_run_that_returns_no_plain_figures_is_an_error(result):
    with pytest.raises(RunError, match="TypeError: a run returns"):
        reproduce(_with_run(lambda ctx: result), scale="smoke")


def test_all_goes_on_after_a_paper_that_cannot_run(monkeypatch):
    from normkit.extras import require

    broken = _with_run(lambda ctx: 1 / 0, slug="broken")
    bare = _with_run(lambda ctx: [{"x": require("no_such_package", extra="graph")}], slug="bare")
    outcomes = list(reproduce_all(scale="smoke", among=[broken, bare, toy.toy("empty"), paper]))
    assert [bool(outcome.evidence) for outcome in outcomes] == [False, False, False, True]
    assert [outcome.skipped for outcome in outcomes] == [False, True, True, False]
    assert "ZeroDivisionError" in outcomes[0].summary
    assert 'pip install "normkit[graph]"' in outcomes[1].summary
    assert outcomes[2].summary == "has no run at scale 'smoke'"
    assert outcomes[3].summary == "4 not judged"


def test_a_killed_job_leaves_whole_files_only(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(
        "import time\n"
        "from normkit.papers import reproduce\n"
        "from tests.papers.toy import toy\n"
        "paper = toy()\n"
        "@paper.run(scale='smoke', seeds=10_000, minutes=1)\n"
        "def tick(ctx):\n"
        "    return [{'x': [float(ctx.seed)] * 20_000}]\n"
        "paper.judge(lambda records, claim, show: None)\n"
        f"reproduce(paper, scale='smoke', out={str(tmp_path / 'out')!r})\n"
    )
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.PIPE)
    records = tmp_path / "out" / "toy" / "records"
    deadline = time.monotonic() + 60
    while len(list(records.glob("*.json"))) < 3 and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    _, errors = job.communicate()
    written = list(records.glob("*.json"))
    assert len(written) >= 3, errors.decode()
    assert all(len(json.loads(path.read_text())["records"][0]["x"]) == 20_000 for path in written)


def _with_run(function, *, judge=True, slug="toy"):
    made = toy.toy(slug)
    made.run(scale="smoke", minutes=0.01)(function)
    if judge:
        made.judge(lambda records, claim, show: None)
    return made


def test_runs_that_are_alone_come_last_in_this_process():
    made = toy.toy()

    def where(ctx):
        return [{"process": os.getpid()}]

    def timing(ctx):
        return [{"process": os.getpid()}]

    made.run(scale="embedded", minutes=1, alone=True)(timing)
    made.run(scale="embedded", minutes=1, seeds=2)(where)
    made.judge(lambda records, claim, show: None)
    steps = []
    records = reproduce(made, n_jobs=2, progress=lambda *step: steps.append(step)).records
    assert records.values("process", run="timing") == [os.getpid()]
    assert os.getpid() not in records.values("process", run="where")
    assert steps[-1] == (3, 3)
