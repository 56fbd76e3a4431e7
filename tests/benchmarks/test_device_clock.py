"""Time on a GPU: gaps between launches are not counted, the host's time is counted apart, on a device made up."""

import pytest

from normkit.benchmarks._harness import device_clock
from normkit.benchmarks._harness.device_clock import DeviceTime, HostTime
from normkit.benchmarks._harness.timing import interleaved
from tests.benchmarks.simulated_gpu import SimulatedGPU


@pytest.fixture
def gpu(monkeypatch):
    simulated = SimulatedGPU()
    monkeypatch.setattr(device_clock.time, "perf_counter", simulated.perf_counter)
    return simulated


@pytest.mark.parametrize(("host", "device"), [(20e-6, 2e-6), (100e-6, 3e-6), (5e-6, 1e-3), (2e-3, 1e-5)])
def test_the_devices_time_is_counted_and_not_the_hosts(gpu, host, device):
    measure = DeviceTime(gpu)
    for calls in (1, 10, 50):
        assert measure(gpu.call(host, device), calls) == pytest.approx(calls * device, rel=1e-3)
    assert not measure.overtaken


def test_without_a_backlog_the_gaps_would_be_counted(gpu):
    """What the stopwatch avoids: events around calls that the device is quicker with than the host."""
    call, start, end = gpu.call(20e-6, 2e-6), gpu.Event(enable_timing=True), gpu.Event(enable_timing=True)
    start.record()
    for _ in range(50):
        call()
    end.record()
    assert start.elapsed_time(end) / 1e3 > 0.9 * 50 * 20e-6


def test_the_backlog_is_as_long_as_it_must_be(gpu):
    measure = DeviceTime(gpu)
    quick, slow = gpu.call(2e-6, 1e-6), gpu.call(1e-3, 1e-6)
    for _ in range(2):
        measure(quick, 50)
        measure(slow, 50)
    gpu.slept.clear()
    measure(quick, 50)
    measure(slow, 50)
    assert gpu.slept[0] < 1e-3  # not what the slow one needs
    assert gpu.slept[1] > 50 * 1e-3
    assert len(gpu.slept) == 2


def test_a_call_of_many_kernels_is_timed_in_smaller_batches(gpu):
    """Thirty launches a call: fifty calls do not find room in the queue, so that the host would wait for the device."""
    measure = DeviceTime(gpu)
    assert measure(gpu.call(300e-6, 90e-6, launches=30), 50) == pytest.approx(50 * 90e-6, rel=1e-2)
    assert not measure.overtaken


def test_a_call_that_waits_for_the_device_is_said_to(gpu):
    def call():
        gpu.launch(5e-6, 1e-5)
        gpu.synchronize()

    measure = DeviceTime(gpu)
    assert measure(call, 4) > 0
    assert measure.overtaken


def test_the_hosts_time_waits_for_nothing(gpu):
    assert HostTime(gpu)(gpu.call(20e-6, 1e-3), 50) == pytest.approx(50 * 20e-6)
    assert HostTime(gpu)(gpu.call(20e-6, 1e-6), 50) == pytest.approx(50 * 20e-6)


def test_rounds_on_a_device_give_its_ratio_and_on_the_host_the_hosts(gpu):
    calls = {"peer": gpu.call(10e-6, 30e-6), "ours": gpu.call(40e-6, 10e-6)}
    device = interleaved(calls, rounds=5, measure=DeviceTime(gpu), most_calls=50)
    assert device.ratio("peer", "ours").median == pytest.approx(3.0, rel=1e-3)
    assert max(device.calls.values()) <= 50
    host = interleaved(calls, rounds=5, measure=HostTime(gpu), most_calls=50)
    assert host.ratio("peer", "ours").median == pytest.approx(0.25)
