"""Crossovers: for which operations they are sought, and what is said where dispatch takes the slower kernel."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from normkit.benchmarks import Crossover, crossovers, print_crossovers, suites
from normkit.kernels import native


@pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)
def test_every_shape_up_to_a_million_elements_is_timed_small_ones_first():
    suite = next(suite for suite in suites() if suite.op == "softmax")
    suite = replace(suite, shapes=((64, 32), (2, 16), (4096, 1024)), quick_shapes=())
    threads = torch.get_num_threads()
    found = crossovers([suite, next(suite for suite in suites() if suite.op == "gpt2_step")], rounds=2)
    assert [(each.op, each.shape) for each in found] == [("softmax", (2, 16)), ("softmax", (64, 32))]
    assert all(each.native > 0 and each.default > 0 for each in found)
    assert torch.get_num_threads() == threads


def test_where_the_other_kernel_is_quicker_it_is_said():
    console = Console(file=io.StringIO(), width=80)
    print_crossovers([Crossover("softmax", (2, 16), 0.5, 0.4), Crossover("softmax", (64, 32), 2.0, 0.99)], console)
    lines = console.file.getvalue().splitlines()
    assert [("quicker" in line) for line in lines if line.startswith("  softmax")] == [True, False]
