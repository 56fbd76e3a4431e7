"""Bars: which rows must reach one, what a row says of it, and what a person reads."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from normkit.benchmarks import Bar, Case, Peer, Record, Scene, Suite, Table, print_table
from normkit.benchmarks._harness.bar import bars_of
from normkit.benchmarks._harness.scene import Effort, _met, time_scene
from normkit.benchmarks._harness.timing import Ratio

LEAST = Effort(short_rounds=3, long_rounds=3, min_seconds=1e-5, retries=0)


def test_a_bar_covers_the_rows_that_it_names_and_the_highest_of_several_counts():
    bars = (
        Bar(1.4),
        Bar(2.0, where=lambda shape: shape[-1] >= 64),
        Bar(0.8, to="copy", out_of_cache=True),
        Bar(1.8, parallel=True),
        Bar(1.1, mode="bwd", output="fresh"),
        Bar(1.0, case="rising"),
        Bar(1.05, variant="normkit/one", to="normkit/two"),
    )
    assert bars_of(bars, Scene((4, 16)), "normkit", "in") == {"torch": 1.4}
    assert bars_of(bars, Scene((4, 64)), "normkit", "out") == {"torch": 2.0, "copy": 0.8}
    assert bars_of(bars, Scene((4, 64), threads=2), "normkit", "in") == {"torch": 1.8}
    assert bars_of(bars, Scene((4, 64), mode="bwd"), "normkit", "in") == {"torch": 1.1}
    assert bars_of(bars, Scene((4, 64), mode="bwd", output="reused"), "normkit", "in") == {}
    assert bars_of(bars, Scene((4, 64), case="rising"), "normkit", "in") == {"torch": 1.0}
    assert bars_of(bars, Scene((4, 64)), "normkit/one", "in") == {"normkit/two": 1.05}
    assert bars_of(bars, Scene((4, 64), dtype=torch.bfloat16), "normkit", "in") == {}


def slow(x, dim=-1):
    return sum(torch.cumsum(x, dim) for _ in range(20)) / 20


def quick(x, dim=-1):
    return torch.cumsum(x, dim)


SUITE = Suite(
    op="toy",
    family="toy",
    public=quick,
    reference=quick,
    peers=(Peer("torch", slow),),
    inputs=lambda shape, generator: (torch.randn(shape, generator=generator),),
    shapes=(),
    user_shapes=(),
    quick_shapes=(),
    cases=(("ones", (8, 64), torch.ones), Case("dim=0", ((64, 64),), options={"dim": 0})),
    bars=(Bar(2.0), Bar(1e6, case="ones"), Bar(1e-6, to="copy", case="dim=0")),
    most_ulp=64.0,
)


@pytest.mark.parametrize(
    ("scene", "to", "bar", "met"),
    [
        (Scene((64, 64)), "torch", 2.0, True),
        (Scene((8, 64), case="ones"), "torch", 1e6, False),
        (Scene((64, 64), case="dim=0"), "copy", 1e-6, True),
        (Scene((64, 64), case="dim=0"), "torch", None, None),
    ],
)
def test_a_row_says_whether_its_bar_was_met(scene, to, bar, met):
    (row,) = (each for each in time_scene(SUITE, scene, effort=LEAST) if each.ours and each.ratio_to == to)
    assert row.bar == bar
    # On a busy machine a row may be noisy; then its whole interval must lie on one side.
    low, high = row.ratio_ci or (0.0, 0.0)
    doubtful = row.status == "noisy" and bar is not None and low < bar <= high
    assert row.met is (None if doubtful else met)


def test_the_arguments_of_a_case_reach_all_and_its_inputs_are_made():
    calls = []

    def told(x, dim=-1):
        calls.append((tuple(x.shape), dim, float(x.sum())))
        return torch.cumsum(x, dim)

    suite = replace(SUITE, public=told, reference=told, peers=(Peer("torch", told),))
    time_scene(suite, Scene((64, 64), case="dim=0"), effort=LEAST)
    assert {dim for _, dim, _ in calls} == {0}
    calls.clear()
    time_scene(suite, Scene((8, 64), case="ones"), effort=LEAST)
    assert set(calls) == {((8, 64), -1, 512.0)}


def test_cases_are_among_the_scenes_and_quick_leaves_them_out():
    assert [scene.case for scene in SUITE.scenes((1,))] == ["ones", "dim=0"]
    assert list(replace(SUITE, quick_shapes=((2, 2),)).scenes((1,), quick=True))[1:] == [Scene((2, 2), kernels=True)]


def row(variant, ratio, bar=None, **changes):
    blank = Record("softmax", variant, [4096, 50257], "float32", 1, "fwd", "out", "reused", 1e6, 1.2e6, 1e6, 2e6)
    met = None if bar is None else ratio >= bar
    interval = [0.9 * ratio, 1.1 * ratio]
    found = replace(blank, ratio_to="torch", ratio_median=ratio, ratio_ci=interval, copy_fraction=0.912, max_ulp=2.345)
    return replace(found, bar=bar, met=met, **changes)


@pytest.mark.parametrize("width", [80, 120])
def test_a_line_fits_the_terminal_and_no_name_is_broken(width):
    records = (
        row("normkit", 2.5, 2.0),
        row("normkit", 0.812, 0.909, ratio_to="normkit/three-pass-recompute"),
        row("normkit/three-pass-recompute", 1.0, status="noisy"),
    )
    console = Console(file=io.StringIO(), width=width)
    print_table(Table(records, {}), console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 120
    shown = next(line for line in lines if line.startswith("  normkit "))
    assert len(shown) <= width
    assert all(word in shown for word in ("1.2 ms", "0.91", "2.35", "torch", "2.50", "≥2.00 met"))
    assert ("(2.25–2.75)" in shown) is (width == 120)
    assert any("/three-pass-recompute" in line and "≥0.91 MISSED" in line for line in lines)
    assert any(line.startswith("bars: 1 met, 1 missed, 0 too noisy") for line in lines)


def test_bars_survive_being_written_and_read(tmp_path):
    table = Table((row("normkit", 2.5, 2.0), row("normkit", 1.0, 2.0)), {"cpu": "any"})
    again = Table.read(table.save(tmp_path) / "bench.json")
    assert [(record.bar, record.met) for record in again] == [(2.0, True), (2.0, False)]
    assert np.isclose(again.records[0].ratio_median, 2.5)


@pytest.mark.parametrize(
    ("interval", "noisy", "met"),
    [((1.5, 2.5), True, None), ((2.1, 3.0), True, True), ((1.0, 1.9), True, False), ((1.5, 2.5), False, True)],
)
def test_a_noisy_row_is_judged_only_where_its_interval_is_clear(interval, noisy, met):
    low, high = interval
    assert _met(Ratio((low + high) / 2 + 0.1, low, high), 2.0, noisy=noisy) is met
