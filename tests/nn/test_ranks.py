"""Statistics over the ranks of torch.distributed: two processes with half a batch each are one with the whole."""

import copy
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from normkit.nn import EstBatchNorm2d, EvoNorm2dB0, GraphNorm2d, PowerNorm, UnifiedNorm
from normkit.search import known

SIZES = (3, 1)  # the ranks' batches differ in size


def batch() -> torch.Tensor:
    return torch.randn(sum(SIZES), 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1


def upstream() -> torch.Tensor:
    return torch.randn(sum(SIZES), 4, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def layers(sync: bool) -> list[torch.nn.Module]:
    options = {"sync": sync, "dtype": torch.float64}
    power = {"channel_dim": 1, **options}
    return [
        EvoNorm2dB0(4, **options),
        EstBatchNorm2d(4, 0.1, **options),
        GraphNorm2d(known["batch-norm-relu"], 4, **options),
        UnifiedNorm(3, warmup_iters=0, **options),
        PowerNorm(4, warmup_iters=1, group_num=2, **power),
        PowerNorm(4, variant="pn-v", group_num=0, **power),
    ]


def run(layer: torch.nn.Module, x: torch.Tensor, gradient: torch.Tensor) -> list[torch.Tensor]:
    for _ in range(2):  # the second step uses what the first one's two passes left
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        y.backward(gradient)
    return [y.detach(), leaf.grad, *(buffer for name, buffer in layer.named_buffers() if buffer.is_floating_point())]


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    own = batch().split(SIZES)[rank], upstream().split(SIZES)[rank]
    torch.save([run(layer, *own) for layer in layers(sync=True)], Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_equal_one() -> None:
    wanted = [run(layer, batch(), upstream()) for layer in layers(sync=False)]
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (folder,), nprocs=len(SIZES))
        ranks = [torch.load(Path(folder) / f"{rank}.pt") for rank in range(len(SIZES))]
    for index, (y, gradient, *statistics) in enumerate(wanted):
        torch.testing.assert_close(torch.cat([rank[index][0] for rank in ranks]), y)
        torch.testing.assert_close(torch.cat([rank[index][1] for rank in ranks]), gradient)
        for rank in ranks:
            for ours, whole in zip(rank[index][2:], statistics, strict=True):
                torch.testing.assert_close(ours, whole)


def test_without_a_process_group_sync_changes_nothing() -> None:
    for alone, synced in zip(layers(sync=False), layers(sync=True), strict=True):
        for a, b in zip(run(alone, batch(), upstream()), run(synced, batch(), upstream()), strict=True):
            torch.testing.assert_close(a, b)


def test_a_process_group_of_its_own_is_taken_along_by_a_copy(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        layer = PowerNorm(4, process_group=dist.new_group([0]))
        twin = copy.deepcopy(layer)
        assert twin.process_group is layer.process_group
        assert twin.running_phi is not layer.running_phi
    finally:
        dist.destroy_process_group()
