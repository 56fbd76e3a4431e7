"""The times of a scene: its rounds by the clock that belongs to its device, and when they are not to be believed."""

from collections.abc import Callable
from dataclasses import dataclass

from normkit.benchmarks._harness.candidate import Candidate
from normkit.benchmarks._harness.contention import contention
from normkit.benchmarks._harness.device_clock import MOST_CALLS, DeviceTime, HostTime
from normkit.benchmarks._harness.record import is_ours
from normkit.benchmarks._harness.roof import copies
from normkit.benchmarks._harness.setting import Scene
from normkit.benchmarks._harness.suite import Inputs
from normkit.benchmarks._harness.timing import Ratio, Timings, between, clock_for, interleaved

__all__ = ["Effort", "Measured", "measure"]

_NOISY = 0.15
_WAITING = 0.05  # of the wall time, summed over threads
_SHORT = 1e-3  # seconds of a call; longer ones get fewer rounds
_LATENCY_CALLS = 4  # of a long call: the host waits for none, but the device must be through with all

Calls = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds for calls under 1 ms and for longer ones, least seconds of one measurement."""

    short_rounds: int = 60
    long_rounds: int = 9
    min_seconds: float = 1e-3
    retries: int = 1


@dataclass(frozen=True)
class Measured:
    """The times of a scene by one clock, and what makes them doubtful.

    Attributes:
        timings: of every variant that is right, and of the copies.
        clock: `thread`, `wall`, `device` or `host`.
        waiting: share of the time that threads waited for a core.
        overtaken: whether a device waited for the host while it was timed.
    """

    timings: Timings
    clock: str
    waiting: float = 0.0
    overtaken: bool = False

    @property
    def peers(self) -> list[str]:
        """Who was timed that is neither ours nor a copy."""
        return [name for name in self.timings if not is_ours(name) and not name.startswith("copy")]

    def doubt(self, ratio: Ratio) -> str:
        """Why a ratio is not to be believed; empty if it is."""
        if self.waiting > _WAITING:
            return f"other processes took the cores: the threads waited for one {self.waiting:.0%} of the time"
        if self.overtaken:
            return "the device waited for the host while it was timed: a call waits for it or queues too many kernels"
        wide = ratio.high > ratio.median * (1 + _NOISY) or ratio.low < ratio.median * (1 - _NOISY)
        return "the interval of the ratio is wider than ±15 %: measure on a quieter machine" if wide else ""

    def doubtful(self, ours: str) -> bool:
        """Whether any ratio of the variant `ours` is not to be believed."""
        return any(self.doubt(self.timings.ratio(peer, ours)) for peer in self.peers)


def measure(found: list[Candidate], inputs: Inputs, scene: Scene, effort: Effort, seed: int) -> list[Measured]:
    """Time what is right, the copies among it; empty where nothing of ours is right. What is in doubt is timed again.

    On a GPU the device's own times come first, then the host's, of the same calls.
    """
    calls: Calls = {each.name: each.run for each in found if each.status == "ok"}
    ours = next((each.name for each in found if each.ours and each.status == "ok"), None)
    if ours is None:
        return []
    copied = dict(copies(inputs[0], scene.threads))
    once = _on_gpu if scene.device == "cuda" else _on_cpu
    times = [_settled(once, calls | copied, ours, scene, effort, seed)]
    if scene.device == "cuda":
        times.append(_latency(calls, times[0].timings, effort, seed))
    return times


_Once = Callable[[Calls, Scene, int, float, int], Measured]


def _settled(once: _Once, calls: Calls, ours: str, scene: Scene, effort: Effort, seed: int) -> Measured:
    """Measured again, with more rounds, while it is in doubt and retries are left."""
    rounds = effort.short_rounds if _seconds(once, calls[ours], scene) < _SHORT else effort.long_rounds
    found = once(calls, scene, rounds, effort.min_seconds, seed)
    for retry in range(1, effort.retries + 1):
        if not found.doubtful(ours):
            break
        found = once(calls, scene, 2**retry * rounds, effort.min_seconds, seed + retry)
    return found


def _seconds(once: _Once, call: Callable[[], object], scene: Scene) -> float:
    return once({"call": call}, scene, 1, 0.0, 0).timings["call"].median


def _on_cpu(calls: Calls, scene: Scene, rounds: int, min_seconds: float, seed: int) -> Measured:
    measure = between(clock_for(scene.threads))
    with contention() as waiting:
        timings = interleaved(calls, rounds=rounds, min_seconds=min_seconds, seed=seed, measure=measure)
    # One thread is timed by its own CPU time, in which waiting for a core does not count.
    alone = scene.threads == 1
    return Measured(timings, "thread" if alone else "wall", 0.0 if alone else waiting.share)


def _on_gpu(calls: Calls, scene: Scene, rounds: int, min_seconds: float, seed: int) -> Measured:
    measure = DeviceTime()
    timings = interleaved(
        calls, rounds=rounds, min_seconds=min_seconds, seed=seed, measure=measure, most_calls=MOST_CALLS
    )
    return Measured(timings, "device", overtaken=measure.overtaken)


def _latency(calls: Calls, device: Timings, effort: Effort, seed: int) -> Measured:
    """The host's times: many calls in a row where the device is quick, few where it would take seconds for them."""
    quick = max(device[name].median for name in calls) < _SHORT
    timings = interleaved(
        calls,
        rounds=effort.short_rounds if quick else effort.long_rounds,
        min_seconds=effort.min_seconds,
        seed=seed,
        measure=HostTime(),
        most_calls=MOST_CALLS if quick else _LATENCY_CALLS,
    )
    return Measured(timings, "host")
