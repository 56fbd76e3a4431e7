"""Growth: time and memory of a call in a fresh process, the exponent between the sizes, the bars on both."""

import io
import json
import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from normkit.benchmarks import Growth, Peer, PrintedLive, Record, Table, bench, growths, print_table, suites
from normkit.benchmarks._harness import grown
from normkit.benchmarks._harness.grown import disagreement, exponent, measure_growth
from normkit.benchmarks._harness.resident import PeakMemory, free_bytes
from normkit.benchmarks._harness.single import CallFailedError, OutOfMemoryError, Single, fresh, single, sprouting
from tests.benchmarks import growing_calls as calls

MIB = 2**20
TOY = Growth("toy", calls.linear, calls.numbers, sizes=(100, 1_000, 10_000), quick_size=8)


@pytest.fixture
def costs(monkeypatch):
    """Processes that answer at once: seconds n²/10⁶ and so many bytes a variant."""
    bytes_ = {calls.linear: lambda n: 2000 * n * 8, calls.quadratic: lambda n: 8 * n**2 + 2 * MIB}

    def answer(call, growth, size, seed=0):
        return Single(1e-6 * size**2, bytes_[call](size))

    monkeypatch.setattr(grown, "fresh", answer)


def by_size(records, variant="normkit"):
    return {tuple(row.shape): row for row in records if row.variant == variant}


@pytest.mark.parametrize("suite", growths(), ids=lambda suite: suite.op)
def test_every_suite_of_growth_runs_and_agrees_with_its_peers(suite):
    assert list(suite.sizes) == sorted(set(suite.sizes))
    assert suite.quick_size <= suite.sizes[0]
    found = single(suite.public, suite, suite.quick_size, min_seconds=0.0)
    assert found.seconds > 0
    for peer in suite.peers:
        if peer.same:
            assert disagreement(suite, peer) <= suite.tolerance, peer.name


def test_suites_of_growth_are_found_by_listing_and_by_their_family():
    assert [suite.op for suite in growths("growth")] == [suite.op for suite in growths()]
    assert "cross_entropy_memory" in {suite.op for suite in growths()}
    assert suites("cross_entropy_memory") == []
    assert [suite.op for suite in growths(["softmax", "cross_entropy_memory"])] == ["cross_entropy_memory"]


@contextmanager
def separate():
    yield fresh


@pytest.mark.parametrize("processes", [separate, sprouting])
def test_a_fresh_process_counts_what_the_call_holds_and_nothing_that_was_there_before(processes):
    n = 4 * MIB
    with processes() as run:
        for call, held in ((calls.linear, 1), (calls.linear_with_temporary, 3), (calls.linear, 1)):
            found = run(call, TOY, n, 0)
            assert found.bytes == pytest.approx(8 * n * held, rel=0.05)
            assert found.seconds > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_that_fails_says_so_and_the_next_one_is_measured():
    with sprouting() as run:
        with pytest.raises(CallFailedError, match="at size 100: ValueError: 100 are too many"):
            run(calls.refuses, TOY, 100, 0)
        with pytest.raises(OutOfMemoryError, match="at size 100 the process was out of memory"):
            run(calls.wants_too_much, TOY, 100, 0)
        with pytest.raises(CallFailedError, match="at size 100: exit code -15"):
            run(calls.ends_its_process, TOY, 100, 0)
        assert run(calls.linear, TOY, 100, 0).seconds > 0


def test_a_first_look_goes_up_to_the_smallest_size_and_spans_enough_for_an_exponent():
    for suite in growths():
        least, between, most = suite.quick_sizes
        assert least == suite.quick_size < between < most
        assert 8 * least <= most <= 16 * least
        assert most <= suite.sizes[-1]
    assert TOY.quick_sizes == (8, 28, 100)
    assert replace(TOY, sizes=(20, 200)).quick_sizes == (8, 23, 64)


@pytest.mark.usefixtures("costs")
def test_a_first_look_judges_no_exponent_and_hands_over_rows_as_they_are_measured():
    heard, ran = [], []

    def run(call, growth, size, seed):
        ran.append(size)
        return grown.fresh(call, growth, size, seed)

    limited = replace(TOY, most_time_exponent=0.1, most_bytes=lambda n: 1.0)
    records = measure_growth(limited, quick=True, measured=heard.append, run=run)
    assert ran == [8, 28, 100]
    assert [[row.shape for row in rows] for rows in heard] == [[[8]], [[28]], [[100]], [[8, 28, 100]]]
    assert [row for rows in heard for row in rows] == records
    assert records[-1].time_exponent == pytest.approx(2.0)
    assert (records[-1].limits, records[-1].met) == (None, None)
    assert [row.met for row in records[:-1]] == [False] * 3  # what a size may hold is promised for every size


@pytest.mark.usefixtures("costs")
def test_what_is_printed_as_it_is_measured_is_what_is_printed_at_the_end():
    suite = replace(TOY, peers=(Peer("squares", calls.quadratic, same=False),), most_time_exponent=1.0)
    live, late = io.StringIO(), io.StringIO()
    printed, lines = PrintedLive(Console(file=live, width=120), [suite]), []

    def measured(records):
        printed(records)
        lines.append(live.getvalue().count("\n"))

    table = Table(tuple(measure_growth(suite, measured=measured)), {})
    printed.end(table)
    print_table(table, Console(file=late, width=120))
    assert lines == sorted(set(lines))  # more of them after every size
    words = (sorted(text.getvalue().split()) for text in (live, late))
    assert next(words) == next(words)
    assert live.getvalue().index("10000") < live.getvalue().index("missed: toy")


def test_peak_memory_forgets_what_was_held_and_freed_before():
    np.ones(8 * MIB).sum()
    peak = PeakMemory()
    assert peak.bytes() < 4 * MIB
    np.ones(2 * MIB).sum()
    assert peak.bytes() == pytest.approx(16 * MIB, rel=0.25)
    assert 0 < free_bytes() < float("inf")


def test_a_short_call_is_repeated_and_its_time_is_that_of_one():
    long, short = (single(calls.linear, TOY, 10, min_seconds=seconds).seconds for seconds in (0.05, 0.0))
    assert long < 0.01
    assert short < 0.01


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 3.0])
def test_the_exponent_is_the_slope_on_logarithmic_axes(power):
    assert exponent([(n, 7 * n**power) for n in (10, 100, 1000)]) == pytest.approx(power, abs=1e-12)


def test_there_is_no_exponent_without_two_sizes_that_count():
    assert exponent([(10, 1.0)]) is None
    assert exponent([(10, 1.0), (100, 50.0), (1000, 500.0)], least=100.0) is None
    assert exponent([(10, 1.0), (100, 200.0), (1000, 2000.0)], least=100.0) == pytest.approx(1.0)


@pytest.mark.usefixtures("costs")
def test_rows_of_every_size_then_the_exponents_with_their_range():
    records = measure_growth(replace(TOY, peers=(Peer("squares", calls.quadratic, same=False),)))
    ours = by_size(records)
    assert list(ours) == [(100,), (1_000,), (10_000,), (100, 1_000, 10_000)]
    assert ours[1_000,].peak_bytes == 16_000_000
    assert ours[1_000,].median_ns == pytest.approx(1e9)
    assert (ours[1_000,].ratio_to, ours[1_000,].ratio_median) == ("squares", 1.0)
    assert (ours[1_000,].mode, ours[1_000,].clock, ours[1_000,].threads) == ("growth", "process", 1)
    fit = ours[100, 1_000, 10_000]
    assert fit.time_exponent == pytest.approx(2.0)
    assert fit.memory_exponent == pytest.approx(1.0)
    assert by_size(records, "squares")[100, 1_000, 10_000].time_exponent == pytest.approx(2.0)
    json.dumps([row.to_dict() for row in records], allow_nan=False)
    assert [Record.from_dict(row.to_dict()) for row in records] == records


@pytest.mark.usefixtures("costs")
@pytest.mark.parametrize(
    ("changes", "row", "met"),
    [
        ({"most_time_exponent": 2.1}, (100, 1_000, 10_000), True),
        ({"most_time_exponent": 1.9}, (100, 1_000, 10_000), False),
        ({"most_time_exponent": 2.1, "most_memory_exponent": 0.5}, (100, 1_000, 10_000), False),
        ({"most_bytes": lambda n: 16_000.0 * n}, (1_000,), True),
        ({"most_bytes": lambda n: 15_999.0 * n}, (1_000,), False),
    ],
)
def test_a_limit_is_kept_or_missed_and_said(changes, row, met):
    table = Table(tuple(measure_growth(replace(TOY, **changes))), {})
    assert by_size(table)[row].met is met
    said = io.StringIO()
    print_table(table, Console(file=said, width=120))
    assert "How the cost grows" in said.getvalue()
    assert "100 to 10000" in said.getvalue()
    assert "n^2.00" in said.getvalue()
    assert ("missed: toy, n = " in said.getvalue()) is not met


def test_a_limit_on_an_exponent_that_could_not_be_fitted_is_not_judged(monkeypatch):
    monkeypatch.setattr(grown, "fresh", lambda call, growth, size, seed=0: Single(1e-6 * size, 1000))
    fit = by_size(measure_growth(replace(TOY, most_memory_exponent=1.0)))[100, 1_000, 10_000]
    assert (fit.memory_exponent, fit.met) == (None, None)
    assert "no exponent" in fit.reason


@pytest.mark.usefixtures("costs")
def test_a_size_that_the_machine_does_not_hold_is_skipped_with_what_it_would_take(monkeypatch):
    monkeypatch.setattr(grown, "free_bytes", lambda: 100.0 * MIB)
    assert by_size(measure_growth(TOY))[1_000,].status == "skipped"  # for all that one size tells, as n²
    ours = by_size(measure_growth(replace(TOY, most_memory_exponent=1.1)))
    assert ours[1_000,].status == "ok"
    assert ours[10_000,].status == "skipped"
    assert "size 10000 would take about 0.1 GiB" in ours[10_000,].reason
    assert ours[100, 1_000].time_exponent == pytest.approx(2.0)


@pytest.mark.usefixtures("costs")
def test_when_the_time_is_over_the_rest_is_named():
    clock = iter([False] * 8 + [True] * 100)
    ours = by_size(measure_growth(TOY, out_of_time=lambda: next(clock)))
    assert [row.status for row in ours.values()] == ["ok", "ok", "skipped", "ok"]
    assert ours[10_000,].reason == "the time that was given was over"


def test_a_peer_that_computes_something_else_is_not_measured():
    peers = (Peer("other", calls.other), Peer("late", calls.linear, largest=5))
    with sprouting() as run:
        records = measure_growth(replace(TOY, peers=peers), quick=True, run=run)
    assert (by_size(records, "other")[8,].status, by_size(records, "late")[8,].status) == ("wrong", "skipped")
    assert "differs from normkit" in by_size(records, "other")[8,].reason
    assert by_size(records)[8,].ratio_to is None


def test_what_a_process_says_last_is_the_reason():
    with pytest.raises(CallFailedError, match="at size 100: ValueError: 100 are too many"):
        fresh(calls.refuses, TOY, 100)
    with pytest.raises(OutOfMemoryError, match="at size 100 the process was out of memory"):
        fresh(calls.wants_too_much, TOY, 100)


def test_a_call_that_raises_is_wrong_where_it_is_ours_and_goes_no_further(monkeypatch):
    def answer(call, growth, size, seed=0):
        if size > 100:
            raise CallFailedError(f"at size {size}: ValueError: too many")
        return Single(1.0, 1000)

    monkeypatch.setattr(grown, "fresh", answer)
    ours = by_size(measure_growth(TOY))
    assert [(size, row.status) for size, row in ours.items()] == [
        ((100,), "ok"),
        ((1_000,), "wrong"),
        ((10_000,), "wrong"),
    ]


def test_a_function_without_a_name_is_refused():
    with pytest.raises(ValueError, match="must be functions of a module"):
        fresh(lambda x: x, TOY, 10)


def test_on_a_gpu_growth_is_skipped_with_the_reason():
    (row,) = bench("cross_entropy_memory", device="cuda")
    assert (row.status, row.reason, row.device) == ("skipped", "growth is measured on the CPU", "cuda")
