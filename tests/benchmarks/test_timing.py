"""Interleaved timing: what it measures, in which order, and how it sums up."""

import gc
import time

import numpy as np
import pytest

from normkit.benchmarks import interleaved
from normkit.benchmarks._harness.timing import clock_for, ratio_of


class Clockwork:
    """A clock that moves only when somebody works, so that times are exact."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def __call__(self):
        return self.now

    def work(self, name, seconds):
        def call():
            self.log.append(name)
            self.now += seconds

        return call


def test_times_and_ratios_are_exact_under_an_exact_clock():
    clock = Clockwork()
    timings = interleaved({"peer": clock.work("peer", 0.03), "ours": clock.work("ours", 0.01)}, rounds=9, clock=clock)
    assert timings["ours"].min == pytest.approx(0.01)
    assert timings["peer"].median == pytest.approx(0.03)
    assert timings.ratio("peer", "ours") == pytest.approx((3.0, 3.0, 3.0))
    assert list(timings) == ["peer", "ours"]
    assert len(timings) == 2


def test_short_calls_are_repeated_until_they_fill_the_measurement():
    clock = Clockwork()
    timings = interleaved({"short": clock.work("short", 1e-6)}, rounds=3, min_seconds=1e-3, clock=clock)
    assert timings.calls["short"] >= 1000
    assert timings["short"].median == pytest.approx(1e-6)


def test_a_long_call_is_made_once_a_measurement():
    clock = Clockwork()
    timings = interleaved({"long": clock.work("long", 1.0)}, rounds=4, clock=clock)
    assert timings.calls["long"] == 1
    assert len(clock.log) == 1 + 1 + 4  # a call to warm up, one to see how long it takes, one a round


def test_order_changes_from_round_to_round_and_is_the_seeds():
    def order(seed):
        clock = Clockwork()
        interleaved({name: clock.work(name, 1.0) for name in "abc"}, rounds=20, seed=seed, clock=clock)
        rounds = np.array(clock.log[6:]).reshape(20, 3)
        assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
        return rounds.tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert len({tuple(each) for each in order(0)}) > 1


def test_a_machine_that_slows_down_for_both_leaves_the_ratio_alone():
    slow = np.linspace(1, 10, 40)
    ratio = ratio_of(2 * slow, slow)
    assert ratio == pytest.approx((2, 2, 2))


def test_interval_holds_the_true_ratio_and_narrows_with_rounds():
    draw = np.random.default_rng(0)

    def noisy(rounds):
        return ratio_of(1.5 * draw.lognormal(0, 0.1, rounds), draw.lognormal(0, 0.1, rounds))

    few, many = noisy(9), noisy(900)
    assert many.low < 1.5 < many.high
    assert many.high - many.low < few.high - few.low


def test_a_real_difference_is_seen_by_the_real_clock():
    real = interleaved({"spin": lambda: sum(range(2000)), "more": lambda: sum(range(8000))}, rounds=15)
    assert real.ratio("more", "spin").median > 1.5


def test_collector_rests_while_the_clock_runs_and_is_as_before_afterwards():
    seen = []
    interleaved({"look": lambda: seen.append(gc.isenabled())}, rounds=1)
    assert not any(seen)
    assert gc.isenabled()


def test_collector_is_back_after_an_error():
    with pytest.raises(ZeroDivisionError):
        interleaved({"broken": lambda: 1 / 0})
    assert gc.isenabled()


def test_clock_follows_the_thread_count():
    assert clock_for(1) is time.thread_time
    assert clock_for(2) is time.perf_counter


@pytest.mark.parametrize(("variants", "rounds", "says"), [({}, 9, "at least one variant"), ({"a": int}, 0, "rounds=0")])
def test_nothing_to_time_is_refused(variants, rounds, says):
    with pytest.raises(ValueError, match=says):
        interleaved(variants, rounds=rounds)


def test_an_unknown_variant_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match="no variant 'b' was timed; there are a"):
        interleaved({"a": int}, rounds=1).ratio("b", "a")
