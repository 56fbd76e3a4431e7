"""The batch style over the ranks of torch.distributed: two processes with half a batch each are one with the whole."""

import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from normkit.nn import RNB, RNL, RegionNorm2d

SIZES = (3, 1)  # the ranks' batches differ in size, and the last one holds no hole


def drawn(seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(sum(SIZES), 4, 6, 6, generator=draw, dtype=torch.float64) + 1


def mask() -> Tensor:
    hole = torch.zeros(sum(SIZES), 1, 6, 6, dtype=torch.bool)
    hole[: SIZES[0], :, 1:4, :4] = True
    return hole


def results(sync: bool, part: slice, eps_mode: str = "plain") -> list[Tensor]:
    """Outputs and gradients of the three layers on a part of the batch."""
    torch.manual_seed(0)
    common = {"style": "batch", "eps_mode": eps_mode, "sync": sync}
    basic, learned = RNB(4, dtype=torch.float64, **common), RNL(4, 0.5, 3, dtype=torch.float64, **common)
    plain = RegionNorm2d(num_regions=2, **common)
    found = []
    for layer in (lambda x: basic(x, mask()[part]), learned, lambda x: plain(x, mask()[part])):
        x = drawn(0)[part].requires_grad_()
        y = layer(x)
        y.backward(drawn(1)[part])
        found += [y.detach(), x.grad]
    return found


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    part = slice(0, SIZES[0]) if rank == 0 else slice(SIZES[0], None)
    modes = [results(True, part, mode) for mode in ("plain", "official")]
    torch.save(modes, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_equal_one() -> None:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (folder,), nprocs=len(SIZES))
        ranks = [torch.load(Path(folder) / f"{rank}.pt") for rank in range(len(SIZES))]
    for index, mode in enumerate(("plain", "official")):
        wanted = results(False, slice(None), mode)
        for place, whole in enumerate(wanted):
            torch.testing.assert_close(torch.cat([rank[index][place] for rank in ranks]), whole)


def test_without_a_process_group_sync_changes_nothing() -> None:
    for alone, synced in zip(results(False, slice(None)), results(True, slice(None)), strict=True):
        assert torch.equal(alone, synced)
