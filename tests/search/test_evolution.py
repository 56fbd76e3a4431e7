"""A search at toy size: two steps of training, thresholds open, so that many candidates get scores."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from normkit.search import ARCHITECTURES, Evolution, Protocol, Search
from normkit.search.candidate import TRAINED, dominates

TOY = Protocol(steps=2, batch_size=16, abort_step=0, quality=-1.0, stability_steps=1, spread=(1e-3, 1e3))


def pictures(count: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return x, (x.mean((1, 2, 3)) > 0).long()


def search(seed: int = 0, evaluations: int = 12, **options) -> Search:
    options = {"architectures": ["plain", "res"], "protocol": TOY} | options
    return Search(pictures(), pictures(32), budget_evaluations=evaluations, seed=seed, **options)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Search, Path]:
    path = tmp_path_factory.mktemp("unbroken") / "log.jsonl"
    return search().run(path), path


def test_random_graphs_first_then_mutations_of_scored_ones(unbroken) -> None:
    found, _ = unbroken
    scored = {each.index for each in found.scored}
    parents = [each.parent for each in found.candidates]
    assert parents[0] is None
    assert parents[-1] is not None
    assert {parent for parent in parents if parent is not None} <= scored
    first = next(index for index, parent in enumerate(parents) if parent is not None)
    assert sum(each.index < first for each in found.scored) >= 4
    assert all(len(each.scores) == 2 for each in found.scored)
    assert sum(each.fate in TRAINED for each in found.candidates) >= 12
    assert sum(found.fates.values()) == len(found.candidates)


def test_a_repeat_computes_what_an_earlier_candidate_does(unbroken) -> None:
    found, _ = unbroken
    repeats = [each for each in found.candidates if each.fate == "repeat"]
    assert repeats
    assert all(each.same_as < each.index for each in repeats)


def test_parents_come_from_the_window() -> None:
    found = search(evaluations=14, evolution=Evolution(window=3, generation=1))
    found.run()
    for each in found.candidates:
        if each.parent is not None:
            newest = [other.index for other in found.scored if other.index < each.index][-3:]
            assert each.parent in newest


def test_the_best_and_the_front(unbroken) -> None:
    found, _ = unbroken
    best = found.best(3)
    assert [each.mean for each in best] == sorted((each.mean for each in found.scored), reverse=True)[:3]
    front = found.pareto()
    assert best[0] in front
    for each in found.scored:
        beaten = any(dominates(other.scores, each.scores) for other in front)
        assert beaten != (each in front)


def test_a_seed_is_a_search_and_processes_do_not_matter(unbroken) -> None:
    found, _ = unbroken
    parallel = search(evaluations=4, n_jobs=2).run().candidates
    assert parallel == found.candidates[: len(parallel)]
    assert search(seed=1, evaluations=1).run().candidates[:50] != found.candidates[:50]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_log_cut_short_goes_on_to_the_same_end(unbroken, tmp_path: Path, share: float) -> None:
    found, path = unbroken
    log = path.read_bytes()
    header = log.index(b"\n") + 1
    cut = tmp_path / "log.jsonl"
    cut.write_bytes(log[: header + int(share * (len(log) - header))])
    resumed = search().resume(cut)
    assert resumed.candidates == found.candidates
    lines = [json.loads(line) for line in cut.read_text().splitlines()[1:]]
    assert sorted(line["index"] for line in lines) == list(range(len(found.candidates)))


def test_a_log_cut_inside_a_character_goes_on(unbroken, tmp_path: Path) -> None:
    found, path = unbroken
    log = path.read_bytes()
    at = next(index for index, byte in enumerate(log) if byte >= 0x80 and index > log.index(b"\n"))
    cut = tmp_path / "log.jsonl"
    cut.write_bytes(log[: at + 1])
    assert search().resume(cut).candidates == found.candidates


def test_a_log_grows_with_the_budget(unbroken, tmp_path: Path) -> None:
    found, _ = unbroken
    path = tmp_path / "log.jsonl"
    search(evaluations=4).run(path)
    assert search().resume(path).candidates == found.candidates


def test_an_interrupt_keeps_what_is_done(unbroken, tmp_path: Path) -> None:
    found, _ = unbroken

    def stop(done: int, total: int) -> None:
        if done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search().run(tmp_path / "log.jsonl", progress=stop)
    assert search().resume(tmp_path / "log.jsonl").candidates == found.candidates


SCRIPT = """
import sys
from tests.search.test_evolution import search
search(n_jobs=int(sys.argv[2])).run(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_killed_search_goes_on_to_the_same_end(unbroken, tmp_path: Path, n_jobs: int) -> None:
    found, _ = unbroken
    path = tmp_path / "log.jsonl"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), str(n_jobs)], start_new_session=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and not (path.exists() and path.read_bytes().count(b"\n") > 20):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert search().resume(path).candidates == found.candidates


def test_what_cannot_be_gone_on_with_is_named(unbroken, tmp_path: Path) -> None:
    _, path = unbroken
    with pytest.raises(FileExistsError, match="is there already"):
        search().run(path)
    with pytest.raises(FileNotFoundError, match="no such log"):
        search().resume(tmp_path / "nothing")
    with pytest.raises(ValueError, match="another seed"):
        search(seed=3).resume(path)
    with pytest.raises(ValueError, match="another protocol, sampler"):
        search(sampler="uniform", protocol=Protocol()).resume(path)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("hello\n")
    with pytest.raises(ValueError, match="is no log of a search"):
        search().resume(broken)
    with pytest.raises(OSError, match="nowhere"):
        search().run(tmp_path / "nowhere" / "log.jsonl")


def test_a_log_of_other_proposals_is_refused(unbroken, tmp_path: Path) -> None:
    _, path = unbroken
    header, first, *rest = path.read_text().splitlines()
    changed = json.loads(first)
    changed["nodes"] = [[4, 0, 0]] * 10
    other = tmp_path / "log.jsonl"
    other.write_text("\n".join([header, json.dumps(changed), *rest]) + "\n")
    with pytest.raises(ValueError, match="is not the one that these settings propose"):
        search().resume(other)


def test_mistakes_are_named() -> None:
    for options, said in (
        ({"sampler": "bush"}, "sampler is 'bush'"),
        ({"evaluations": 0}, "budget_evaluations is 0"),
        ({"budget_proposals": 0}, "budget_proposals is 0"),
        ({"seed": -1}, "seed is -1: it must be 0 or more"),
        ({"architectures": 4}, "architectures=4: between 1 and 3"),
        ({"architectures": ["vgg"]}, "no architecture 'vgg'"),
        ({"architectures": {}}, "no architecture was given"),
        ({"ops": "C"}, "ops='C'"),
    ):
        with pytest.raises(ValueError, match=said):
            search(**options)
    with pytest.raises(ValueError, match="window is 0"):
        Evolution(window=0)
    with pytest.raises(ValueError, match="selection is 'first'"):
        Evolution(selection="first")
    with pytest.raises(ValueError, match="steps is 0"):
        Protocol(steps=0)


def test_an_architecture_of_ones_own_and_the_average() -> None:
    def tiny(layer, *, in_channels: int, num_classes: int) -> torch.nn.Module:
        body = torch.nn.Conv2d(in_channels, 4, 3, padding=1), layer(4), torch.nn.AdaptiveAvgPool2d(1)
        return torch.nn.Sequential(*body, torch.nn.Flatten(), torch.nn.Linear(4, num_classes))

    found = search(architectures={"tiny": tiny}, evaluations=6, evolution=Evolution(selection="average")).run()
    assert found.settings["architectures"] == {"tiny": {"function": f"{__name__}.{tiny.__qualname__}"}}
    assert all(len(each.scores) == 1 for each in found.scored)


def test_a_log_of_another_network_under_the_same_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    mine = partial(ARCHITECTURES["plain"], channels=8, blocks=2)
    search(architectures={"mine": mine}, evaluations=1).run(path)
    search(architectures={"mine": mine}, evaluations=1).resume(path)
    with pytest.raises(ValueError, match="another architectures"):
        search(architectures={"mine": partial(ARCHITECTURES["res"], channels=8, blocks=2)}).resume(path)
    with pytest.raises(TypeError, match="an architecture is told act="):
        search(architectures={"mine": partial(ARCHITECTURES["plain"], act=object())}).run(tmp_path / "other.jsonl")
