"""Speed, proved: interleaved ratios against named peers and the measured memory bandwidth.

`bench` runs the suites of this folder and returns a `Table`; `interleaved` is the stopwatch that any room may use.
A suite is one module here that holds a `suite`, a `Suite` for the speed of an operation or a `Growth` for what larger
data cost; a new one is found by listing the folder.
"""

from normkit.benchmarks._harness.console import (
    PrintedLive,
    print_changes,
    print_crossovers,
    print_table,
    print_tuned,
    print_tuned_gpu,
)
from normkit.benchmarks._harness.crossover import Crossover, crossovers
from normkit.benchmarks._harness.environment import environment
from normkit.benchmarks._harness.growth import Growth
from normkit.benchmarks._harness.record import Record
from normkit.benchmarks._harness.run import bench, devices, growths, suites
from normkit.benchmarks._harness.suite import Bar, Case, Peer, Scene, Suite
from normkit.benchmarks._harness.table import Change, Table
from normkit.benchmarks._harness.timing import Ratio, Timing, Timings, interleaved
from normkit.benchmarks._harness.tune import Tuned, tune
from normkit.benchmarks._harness.tune_gpu import GpuTuned, tune_gpu

__all__ = [
    "Bar",
    "Case",
    "Change",
    "Crossover",
    "GpuTuned",
    "Growth",
    "Peer",
    "PrintedLive",
    "Ratio",
    "Record",
    "Scene",
    "Suite",
    "Table",
    "Timing",
    "Timings",
    "Tuned",
    "bench",
    "crossovers",
    "devices",
    "environment",
    "growths",
    "interleaved",
    "print_changes",
    "print_crossovers",
    "print_table",
    "print_tuned",
    "print_tuned_gpu",
    "suites",
    "tune",
    "tune_gpu",
]
