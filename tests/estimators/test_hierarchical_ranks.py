"""Two ranks that share the sums of the first stage have the network of one."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from numpy.testing import assert_allclose

from normkit.data import make_hierarchical_polynomial
from normkit.estimators import HierarchicalPolynomialRegressor, _layerwise

WIDTHS = (60, 900)  # fewer units than samples, and more


def _fit(width: int) -> HierarchicalPolynomialRegressor:
    X, y, _ = make_hierarchical_polynomial(400, 4, random_state=0)
    options = {"n_features_1": width, "backend": "torch", "sync": True, "random_state": 0}
    return HierarchicalPolynomialRegressor(**options).fit(X, y)


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    _layerwise._ENTRIES = 3000  # several blocks, so that each rank has some of its own
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    fits = [_fit(width) for width in WIDTHS]
    np.savez(Path(folder) / f"{rank}.npz", *[getattr(fit, name) for fit in fits for name in ("coef_1_", "coef_2_")])
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_are_one(tmp_path: Path) -> None:
    mp.spawn(_work, (str(tmp_path),), nprocs=2)
    whole = [getattr(fit, name) for fit in map(_fit, WIDTHS) for name in ("coef_1_", "coef_2_")]
    for rank in range(2):
        with np.load(tmp_path / f"{rank}.npz") as found:
            for ours, wanted in zip(found.values(), whole, strict=True):
                assert_allclose(ours, wanted, rtol=1e-6, atol=1e-8)


def test_each_rank_adds_up_its_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above can fail: without the sum over the ranks, each has a part of the blocks only."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "all_reduce", lambda values: values)
    monkeypatch.setattr(_layerwise, "_ENTRIES", 3000)
    part = _fit(60).coef_1_
    monkeypatch.undo()
    assert np.abs(part - _fit(60).coef_1_).max() > 1e-3
