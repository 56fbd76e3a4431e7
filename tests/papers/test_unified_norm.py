"""What the paper's runs are made of: outlier batches where they are said to be, and skips counted where they happen."""

from functools import partial

import pytest
import torch

from normkit import data
from normkit.nn import UnifiedNorm
from normkit.papers.unified_norm import SPIKE, _digits, _spiked_at, _vision


def test_outliers_stand_in_every_fortieth_batch_from_the_eightieth_on() -> None:
    assert [step for step in range(240) if _spiked_at(step)] == [80, 120, 160, 200]
    clean, spiked = _digits(82, 0, False), _digits(82, 0, True)
    different = [step for step in range(82) if not torch.equal(clean[step][0], spiked[step][0])]
    assert different == [80]
    torch.testing.assert_close(spiked[80][0][:2], SPIKE * clean[80][0][:2])
    assert torch.equal(spiked[80][0][2:], clean[80][0][2:])
    assert torch.equal(spiked[80][1], clean[80][1])


@pytest.mark.slow
def test_layers_skip_the_outlier_and_little_else() -> None:
    _, skips = _vision(partial(UnifiedNorm, warmup_iters=60, outlier_filtration=True), 90, 0, spikes=True)
    assert len(skips) == 90
    assert skips[80] >= 1
    assert sum(skips[:80]) <= 5


def test_the_same_digits_are_seen_by_every_norm() -> None:
    once, again = _digits(3, 1, False), _digits(3, 1, False)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(once, again, strict=True))
    assert len(data.digits()[0]) // 32 > 3
