"""`bench --device cuda` with the processor in the GPU's place: which settings, whose rows, which clock, which bars.

Only the stopwatch's device is made up; inputs, checks, rounds and records are those of a GPU.
"""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from normkit.benchmarks import Bar, Peer, Scene, Suite, bench, print_table, suites
from normkit.benchmarks._harness import device_clock, liger, run
from normkit.benchmarks._harness.bar import alone_on_gpu, bars_of, quick_on_gpu
from normkit.benchmarks._harness.gpu_scenes import on_gpu
from normkit.benchmarks._harness.measured import Effort
from normkit.benchmarks._harness.roof import cache_class
from normkit.benchmarks._harness.scene import time_scene

LEAST = Effort(short_rounds=3, long_rounds=3, min_seconds=1e-6, retries=0)


class _Event:
    """Of a device that has done at once what it is asked for, and says that it lags behind."""

    def __init__(self, enable_timing):
        self.at = 0.0

    def record(self):
        self.at = time.perf_counter()

    def query(self):
        return False

    def synchronize(self):
        pass

    def elapsed_time(self, other):
        return 1e3 * (other.at - self.at)


@pytest.fixture
def gpu(monkeypatch):
    """The processor, called `cuda`."""
    device = SimpleNamespace(Event=_Event, synchronize=lambda: None, _sleep=lambda cycles: None)
    monkeypatch.setattr(device_clock, "gpu", lambda: device)
    monkeypatch.setattr(Scene, "place", torch.device("cpu"))
    monkeypatch.setattr(run, "why_no_gpu", lambda: "")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(L2_cache_size=50 * 2**20))
    monkeypatch.setattr(torch, "compile", lambda call, **options: call)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("suite", suites(), ids=lambda suite: suite.op)
def test_every_suite_is_right_in_every_mode_that_it_has_on_a_gpu(suite):
    for mode, dtype in {(scene.mode, scene.dtype) for scene in suite.gpu_scenes()}:
        records = time_scene(suite, on_gpu(suite.quick_shapes[0], mode, dtype), effort=LEAST)
        mine = [record for record in records if record.variant == "normkit"]
        assert {record.clock for record in mine} == {"device", "host"}
        assert all(record.status in ("ok", "noisy") for record in mine), mine[0].reason
        assert all(record.device == "cuda" and record.ratio_median > 0 for record in mine)
        assert not [record for record in records if record.variant in ("scipy", "onednn")]


def double(x, out=None):
    return torch.mul(x, 2, out=out)


def toy(*peers, **options):
    return Suite(
        op="toy",
        family="toys",
        public=double,
        reference=lambda x: x * 2,
        peers=(Peer("torch", double), *peers),
        inputs=lambda shape, generator: (torch.randn(shape, generator=generator),),
        shapes=(),
        user_shapes=((4, 8),),
        quick_shapes=((4, 8),),
        **options,
    )


@pytest.mark.usefixtures("gpu")
def test_the_hosts_rows_have_no_rate_and_the_devices_rows_have_one():
    records = time_scene(toy(), on_gpu((64, 64), kernels=True), effort=LEAST)
    device = [record for record in records if record.clock == "device"]
    host = [record for record in records if record.clock == "host"]
    assert {record.variant for record in device} >= {"normkit", "torch", "torch.compile", "copy"}
    assert {record.variant for record in host} == {"normkit", "torch", "torch.compile"}
    assert all(record.gbps and record.copy_fraction for record in device)
    assert all(record.gbps is None and record.median_ns for record in host)


@pytest.mark.usefixtures("gpu")
def test_a_latency_bar_is_the_hosts_and_the_others_are_the_devices():
    bars = (Bar(1e-6, latency=True), Bar(1e6, to="copy"), Bar(1e6, dtype=torch.bfloat16))
    records = time_scene(toy(bars_on_gpu=bars, bars=(Bar(7.0),)), on_gpu((64, 64)), effort=LEAST)
    found = {(record.clock, record.ratio_to): (record.bar, record.met) for record in records if record.ours}
    assert found.pop(("device", "torch")) == (None, None)
    assert found == {("device", "copy"): (1e6, False), ("host", "torch"): (1e-6, True)}


@pytest.mark.usefixtures("gpu")
def test_against_the_copy_the_ratio_is_that_of_rates():
    """Twice the necessary bytes of a copy in whatever time: the ratio of times, doubled."""
    suite = toy(bars_on_gpu=(Bar(0.5, to="copy"),), bytes_forward=16)
    (ours,) = (each for each in time_scene(suite, on_gpu((64, 64)), effort=LEAST) if each.ratio_to == "copy")
    assert ours.ratio_median == pytest.approx(ours.copy_fraction)


@pytest.mark.usefixtures("gpu")
def test_a_peer_whose_package_is_missing_is_left_out_with_the_reason():
    suite = toy(Peer("other", double, requires="no_such_package"), Peer("processor's", double, device="cpu"))
    left_out = [record for record in time_scene(suite, on_gpu((4, 8)), effort=LEAST) if record.status == "skipped"]
    assert [(record.variant, record.reason) for record in left_out] == [("other", "no_such_package is not installed")]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("mode", ["fwd", "bwd"])
def test_a_peer_that_fails_in_a_way_of_its_own_leaves_the_others(mode):
    class CompilationError(Exception):
        pass

    def broken(x):
        raise CompilationError("no room for\n 300 registers")

    records = time_scene(toy(Peer("broken", broken)), on_gpu((4, 8), mode), effort=LEAST)
    assert [record.reason for record in records if record.variant == "broken"] == ["no room for 300 registers"]
    assert any(record.ratio_to == "torch" and record.median_ns for record in records)


@pytest.mark.usefixtures("gpu")
def test_ligers_functions_are_called_as_they_want_and_nothing_is_written_over(monkeypatch):
    def in_place_cross_entropy(x, target):
        loss = torch.nn.functional.cross_entropy(x.clone(), target)
        if x.requires_grad:
            x.detach().zero_()
        return loss

    functions = {
        "liger_softmax": lambda x: torch.softmax(x, -1),
        "liger_layer_norm": lambda x, w, b, eps: torch.layer_norm(x, w.shape, w, b, eps),
        "liger_rms_norm": lambda x, w, eps, *how: torch.rms_norm(x, w.shape, w, eps),
        "liger_fused_add_rms_norm": lambda x, r, w, eps, *how: (torch.rms_norm(x + r, w.shape, w, eps), x + r),
        "liger_cross_entropy": in_place_cross_entropy,
    }
    monkeypatch.setattr(liger, "_function", functions.__getitem__)
    seen = set()
    for suite in suites():
        named = tuple(replace(peer, requires=None) for peer in suite.peers)
        if any(peer.name == "liger" for peer in named):
            for mode in ("fwd", "fwd+bwd"):
                scene = on_gpu(suite.quick_shapes[0], mode)
                records = time_scene(replace(suite, peers=named), scene, effort=LEAST)
                assert {record.status for record in records} <= {"ok", "noisy"}
            seen.add(suite.op)
    assert seen == {"softmax", "layer_norm", "rms_norm", "add_rms_norm", "cross_entropy"}


@pytest.mark.usefixtures("gpu")
def test_bench_on_a_gpu_shows_the_device_then_the_host(capsys):
    from rich.console import Console

    table = bench(["softmax", "gpt2_step"], device="cuda", quick=True)
    assert {record.device for record in table} == {"cuda"}
    assert {record.op for record in table} == {"softmax", "gpt2_step"}
    print_table(table, Console(width=120))
    said = capsys.readouterr().out
    assert "softmax 64×256  fwd, fresh, cuda" in said
    assert said.index("Kernel by kernel") < said.index("What the host takes to call the GPU")


@pytest.mark.usefixtures("gpu")
def test_when_the_time_is_over_the_rest_is_left_out_and_named():
    table = bench("layer_norm", device="all", minutes=1e-9, threads=[1])
    suite = next(suite for suite in suites() if suite.op == "layer_norm")
    settings = len([*suite.scenes((1,))]) + len(suite.on_gpu)
    assert len(table) == settings
    assert {(record.status, record.reason) for record in table} == {("skipped", "the time that was given was over")}
    assert {record.device for record in table} == {"cpu", "cuda"}


def test_no_minutes_are_refused():
    with pytest.raises(ValueError, match="minutes must be more than 0"):
        bench("softmax", minutes=0.0)


@pytest.mark.usefixtures("gpu")
def test_memory_that_is_too_small_leaves_out_one_setting(monkeypatch):
    def none_left(*args, **options):
        raise torch.cuda.OutOfMemoryError("tried to allocate 8 GiB")

    monkeypatch.setattr(run, "time_scene", none_left)
    table = bench("softmax", device="cuda", quick=True)
    assert [(record.status, record.reason) for record in table] == [("skipped", "tried to allocate 8 GiB")]


@pytest.mark.usefixtures("gpu")
def test_cache_classes_of_a_gpu_follow_its_l2():
    classes = [cache_class(size * 2**20, 2, "cuda") for size in (25, 26, 199, 200)]
    assert classes == ["in", "l3", "l3", "out"]


@pytest.mark.usefixtures("gpu")
def test_the_large_settings_are_out_of_a_large_cache_and_the_small_ones_small():
    """A bar against the copy must not be judged in a cache: 50 MiB of L2."""
    for suite in suites():
        for scene in (each for each in suite.on_gpu if each.mode == "fwd" and suite.bytes_forward is not None):
            size = torch.Size(scene.shape).numel()
            copied = 2 * size * scene.dtype.itemsize
            assert size <= 2**16 or cache_class(copied, 2, "cuda") == "out" or scene.dtype == torch.bfloat16


def test_bars_of_a_gpu():
    bars = alone_on_gpu("timm")
    assert bars_of(bars, on_gpu((4096, 4096)), "normkit", "out") == {"copy": 0.8, "timm": 3.0, "torch.compile": 1.0}
    assert bars_of(bars, on_gpu((4096, 4096)), "normkit", "out", latency=True) == {}
    assert bars_of(bars, on_gpu((64, 64)), "normkit", "in") == {}
    assert bars_of((quick_on_gpu(),), on_gpu((64, 64)), "normkit", "in", latency=True) == {"torch": 1 / 1.1}
