"""Tuning with a stopwatch that is made up: what is kept, where, and that nothing else changes."""

import pytest
import torch

from normkit.kernels.triton import availability, launch, tune, tuning

needs_kernels = pytest.mark.skipif(bool(availability.WHY_NOT), reason=availability.WHY_NOT)


@pytest.fixture
def table(tmp_path, monkeypatch, device):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tuning.path(device)
    launch.tile.cache_clear()
    tuning._table.cache_clear()


class Stopwatch:
    """Says that a launch with `best` warps takes a second and every other two; counts what it was asked."""

    def __init__(self, monkeypatch, best):
        self.best, self.calls, self.warps = best, 0, 0
        for module in (tune.softmax,):
            monkeypatch.setattr(module, "launch", self._launch)

    def _launch(self, program, grid, device, *args, num_warps, **constants):
        self.warps = num_warps

    def __call__(self, call):
        self.calls += 1
        call()
        return 1.0 if self.warps == self.best else 2.0


@needs_kernels
def test_the_quickest_is_kept(table, device, monkeypatch):
    watch = Stopwatch(monkeypatch, best=8)
    found = tune.tune(["softmax"], device=device, dtypes=[torch.float32], elements=4096, measure=watch)
    assert {each.tile.num_warps for each in found} == {8}
    assert {each.ratio for each in found} == {0.5}
    assert watch.calls > len(found)
    assert launch.tile("softmax", 1024, torch.float32, device).num_warps == 8
    assert table.exists()
    assert not tuning.trial


@needs_kernels
def test_the_heuristic_stays_where_nothing_is_quicker(table, device, monkeypatch):
    watch = Stopwatch(monkeypatch, best=0)
    assert not tune.tune(["softmax"], device=device, dtypes=[torch.float32], elements=4096, measure=watch)


@needs_kernels
def test_crossover_is_where_ours_stops_being_slower(table, device, monkeypatch):
    """Ours is called first of each pair; it is slower below 8192 elements."""
    sizes = iter([size for size in reversed(tune._SIZES) for _ in range(2)])
    turn = iter([0, 1] * 100)
    monkeypatch.setattr(tune, "_BESIDE_TORCH", {"softmax": tune._BESIDE_TORCH["softmax"]})
    found = tune.tune_crossovers(
        device=device,
        dtypes=[torch.float32],
        measure=lambda call: 3.0 if next(sizes) < 8192 and next(turn) == 0 else 2.0,
    )
    assert found == {"softmax float32 crossover": 8192}
    assert tuning.crossover("softmax", torch.float32, device, 1) == 8192


@needs_kernels
def test_unknown_operation():
    with pytest.raises(ValueError, match="no GPU operation is called 'nonsense'; there are softmax"):
        tune.tune(["nonsense"], measure=lambda call: 1.0)


@pytest.mark.skipif(not availability.WHY_NOT, reason="there is something to tune")
def test_nothing_to_tune():
    with pytest.raises(RuntimeError, match="there is nothing to tune"):
        tune.tune()


class EveryTileIsTooLarge(Stopwatch):
    """The heuristic's tile takes a second; no other one fits the device."""

    def __call__(self, call):
        super().__call__(call)
        if tune.tuning.trial[next(iter(tune.tuning.trial))] is not None:
            raise RuntimeError("out of resource: shared memory")
        return 1.0


@needs_kernels
def test_a_tile_that_does_not_fit_is_passed_over(table, device, monkeypatch):
    watch = EveryTileIsTooLarge(monkeypatch, best=0)
    found = tune.tune(["softmax"], device=device, dtypes=[torch.float32], widths=[64, 128], elements=256, measure=watch)
    assert found == []
    assert watch.calls > 2


@needs_kernels
def test_widths_are_taken_in_their_order_till_the_time_is_over(table, device, monkeypatch):
    seen = []
    options = {"device": device, "dtypes": [torch.float32], "elements": 256, "progress": seen.append}
    tune.tune(["softmax"], widths=[256, 64], measure=Stopwatch(monkeypatch, best=0), **options)
    assert seen == ["tune softmax float32 256", "tune softmax float32 64"]
    seen.clear()
    tune.tune(["softmax"], seconds=-1.0, measure=Stopwatch(monkeypatch, best=0), **options)
    assert seen == []


@needs_kernels
def test_being_slower_by_chance_does_not_move_the_crossover(table, device, monkeypatch):
    turn = iter([1.04, 1.0] * 100)
    monkeypatch.setattr(tune, "_BESIDE_TORCH", {"softmax": tune._BESIDE_TORCH["softmax"]})
    found = tune.tune_crossovers(device=device, dtypes=[torch.float32], measure=lambda call: next(turn))
    assert found == {"softmax float32 crossover": 0}
