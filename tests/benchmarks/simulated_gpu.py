"""A GPU that is made up: a host and a device with a clock each, and a queue of launches between them.

It has what the stopwatch needs of `torch.cuda`, and computes when things happen instead of letting them happen.
"""

from collections import deque


class SimulatedGPU:
    """`launch` asks for a kernel; `places` is how many may wait before the host has to."""

    def __init__(self, places=1000):
        self.host = 0.0
        self.device = 0.0
        self.waiting = deque()
        self.places = places
        self.slept = []

    def perf_counter(self):
        return self.host

    def launch(self, host, device):
        self.host += host
        while self.waiting and self.waiting[0] <= self.host:
            self.waiting.popleft()
        if len(self.waiting) >= self.places:
            self.host = self.waiting.popleft()
        self.device = max(self.device, self.host) + device
        self.waiting.append(self.device)

    def call(self, host, device, launches=1):
        def call():
            for _ in range(launches):
                self.launch(host / launches, device / launches)

        return call

    def synchronize(self):
        self.host = max(self.host, self.device)

    def _sleep(self, cycles):
        self.slept.append(cycles / 2e9)
        self.launch(1e-6, cycles / 2e9)

    def Event(self, enable_timing):  # noqa: N802
        assert enable_timing
        return _Event(self)


class _Event:
    def __init__(self, gpu):
        self.gpu, self.at = gpu, None

    def record(self):
        self.gpu.launch(1e-6, 0.0)
        self.at = self.gpu.device

    def query(self):
        return self.at <= self.gpu.host

    def synchronize(self):
        self.gpu.host = max(self.gpu.host, self.at)

    def elapsed_time(self, other):
        return (other.at - self.at) * 1e3
