"""Right first: errors are counted right, and what is wrong is not timed."""

import math

import pytest
import torch

from normkit.benchmarks import Peer, Scene, Suite
from normkit.benchmarks._harness import contention
from normkit.benchmarks._harness.correctness import Truth, most_ulp
from normkit.benchmarks._harness.inputs import normal
from normkit.benchmarks._harness.scene import Effort, time_scene
from normkit.benchmarks._harness.suite import element_scale

QUICK = Effort(short_rounds=3, long_rounds=3, min_seconds=1e-5, retries=0)


def double(x, out=None):
    return torch.mul(x, 2, out=out)


def toy(public, *peers, **options):
    given = {"shapes": ((4, 8),), "user_shapes": ((4, 8),), "quick_shapes": ((4, 8),), "rowwise": True, **options}
    return Suite(op="toy", family="toys", public=public, reference=lambda x: x * 2, peers=peers, inputs=normal, **given)


def rows(suite, **scene):
    return time_scene(suite, Scene((4, 8), **scene), effort=QUICK)


@pytest.mark.parametrize("value", [1.0, 1.5, 3.7, 1e-30, 1e30, -2.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_next_number_is_one_unit_away(value, dtype):
    exact = torch.tensor([value], dtype=dtype)
    following = torch.nextafter(exact, torch.full_like(exact, math.inf))
    truth = exact.double()
    assert most_ulp(following, truth, truth.abs()) == pytest.approx(1.0)
    assert most_ulp(exact, truth, truth.abs()) == 0.0


def test_an_element_that_is_not_finite_is_infinitely_wrong():
    truth = torch.ones(3, dtype=torch.float64)
    assert most_ulp(torch.tensor([1.0, math.nan, 1.0]), truth, truth) == math.inf


def test_elements_below_the_smallest_are_left_out():
    truth = torch.tensor([1.0, 2.0**-126], dtype=torch.float64)
    assert most_ulp(torch.tensor([1.0, 0.0]), truth, truth) == 0.0


def test_a_share_of_the_rows_still_finds_an_error_in_first_and_last():
    suite = toy(double, Peer("torch", double), scale=element_scale)
    x = torch.randn(20000, 256)
    truth = Truth(suite, Scene(tuple(x.shape)), (x,), torch.ones_like(x))
    assert truth.rows is not None
    assert len(truth.rows) < len(x)
    assert truth.error((2 * x,)) == 0.0
    for row in (0, -1):
        wrong = 2 * x
        wrong[row, 3] += 1.0
        assert truth.error((wrong,)) > 1000


def test_a_wrong_function_of_ours_is_not_timed():
    records = rows(toy(lambda x: x * 2.001, Peer("torch", double)))
    ours = next(record for record in records if record.variant == "normkit")
    assert ours.status == "wrong"
    assert "units in the last place" in ours.reason
    assert ours.median_ns is None
    assert ours.max_ulp > 1000
    assert all(record.median_ns is None for record in records)


def test_a_wrong_peer_is_left_out_and_named():
    records = rows(toy(double, Peer("torch", double), Peer("other", lambda x: x * 3)))
    peer = next(record for record in records if record.variant == "other")
    assert (peer.status, peer.median_ns) == ("wrong", None)
    assert {record.ratio_to for record in records if record.variant == "normkit"} == {"torch"}


def test_a_peer_of_another_function_is_timed_for_its_cost():
    records = rows(toy(double, Peer("other", lambda x: x * 3, same=False)))
    assert {record.ratio_to for record in records if record.variant == "normkit"} == {"other"}
    assert next(record for record in records if record.variant == "other").max_ulp is None


def test_a_peer_that_fails_is_skipped_with_its_words():
    def broken(x):
        raise RuntimeError("no such thing\nhere")

    records = rows(toy(double, Peer("torch", double), Peer("broken", broken)))
    failed = next(record for record in records if record.variant == "broken")
    assert (failed.status, failed.reason) == ("skipped", "no such thing here")


def test_an_element_that_is_not_written_shows():
    def forgets(x, out=None):
        if out is None:
            return x * 2
        out[:-1] = x[:-1] * 2
        return out

    records = rows(toy(forgets, Peer("torch", double, writes_out=True), writes_out=True), output="reused")
    assert records[0].status == "wrong"


def test_a_wrong_gradient_is_seen():
    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    suite = toy(Half.apply, Peer("torch", double))
    assert rows(suite)[0].status != "wrong"
    assert rows(suite, mode="bwd")[0].status == "wrong"
    assert rows(suite, mode="fwd+bwd")[0].status == "wrong"


def test_rounds_hold_the_copy_and_the_fraction_of_it():
    records = rows(toy(double, Peer("torch", double)))
    copy = next(record for record in records if record.variant == "copy")
    assert copy.copy_fraction == pytest.approx(1.0)
    assert copy.bytes == 2 * 4 * 8 * 4
    ours = records[0]
    assert ours.bytes == 8 * 4 * 8
    assert ours.gbps == pytest.approx(ours.bytes / ours.median_ns)


def test_rows_with_several_threads_on_a_busy_machine_are_called_noisy(monkeypatch):
    waited = iter(range(1000))  # a second more each time it is asked: somebody else has the cores
    monkeypatch.setattr(contention, "_waited", lambda: float(next(waited)))
    suite = toy(double, Peer("torch", double))
    (ours,) = [record for record in rows(suite, threads=2) if record.variant == "normkit"]
    assert ours.status == "noisy"
    assert "other processes took the cores" in ours.reason
    (ours,) = [record for record in rows(suite, threads=1) if record.variant == "normkit"]
    assert "other processes" not in ours.reason  # one thread is timed by its own CPU time


def test_threads_are_as_before_afterwards():
    before = torch.get_num_threads()
    rows(toy(double, Peer("torch", double)), threads=before + 1)
    assert torch.get_num_threads() == before
