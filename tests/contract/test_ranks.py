"""Every layer with batch statistics, found by listing: two ranks with a part of a batch each are one with all of it."""

from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from normkit.nn import PowerNorm, UnifiedNorm
from tests.nn.instances import INSTANCES, Instance

SIZES = (3, 1)  # the ranks' batches differ in size
STEPS = 2


def _has_batch_statistics(instance: Instance) -> bool:
    return any("running" in name for name in instance.state)


LAYERS = [instance for instance in INSTANCES if _has_batch_statistics(instance)]
each_layer = pytest.mark.parametrize("index", range(len(LAYERS)), ids=[layer.name for layer in LAYERS])


@dataclass
class Outcome:
    """What a layer gave over several training steps: outputs, gradients, statistics after each, and in evaluation."""

    outputs: list[Tensor] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    parameters: list[Tensor] = field(default_factory=list)
    statistics: list[Tensor] = field(default_factory=list)
    evaluated: list[Tensor] = field(default_factory=list)


def _batches(instance: Instance) -> list[tuple[Tensor, Tensor]]:
    """Inputs and upstream gradients of each step, for all ranks."""
    shape = (sum(SIZES), *instance.shape[1:])
    return [
        (instance.input(shape=shape, seed=2 * step), instance.input(shape=shape, seed=2 * step + 1))
        for step in range(STEPS)
    ]


def _run(instance: Instance, sync: bool, rank: int | None) -> Outcome:
    layer, found = instance.module(sync=sync), Outcome()
    for x, upstream in _batches(instance):
        if rank is not None:
            x, upstream = x.split(SIZES)[rank], upstream.split(SIZES)[rank]
        leaf = x.clone().requires_grad_()
        y = layer.train()(leaf)
        gradients = torch.autograd.grad(y, (leaf, *layer.parameters()), upstream)
        found.outputs.append(y.detach())
        found.inputs.append(gradients[0])
        found.parameters += gradients[1:]
        found.statistics += [b.clone() for name, b in layer.named_buffers() if "running" in name or "num" in name]
    found.evaluated.append(layer.eval()(x).detach())
    return found


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(SIZES))
    found = [vars(_run(instance, sync=True, rank=rank)) for instance in LAYERS]
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list[Outcome]]:
    """By rank, what each layer gave."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(_work, (str(folder),), nprocs=len(SIZES))
    return [[Outcome(**each) for each in torch.load(folder / f"{rank}.pt")] for rank in range(len(SIZES))]


@each_layer
def test_takes_sync(index: int) -> None:
    assert "sync" in signature(LAYERS[index].layer).parameters


@pytest.mark.slow
@each_layer
def test_two_ranks_equal_one(ranks: list[list[Outcome]], index: int) -> None:
    whole, parts = _run(LAYERS[index], sync=False, rank=None), [rank[index] for rank in ranks]
    for name in ("outputs", "inputs", "evaluated"):
        for step, wanted in enumerate(getattr(whole, name)):
            torch.testing.assert_close(torch.cat([getattr(part, name)[step] for part in parts]), wanted)
    for position, wanted in enumerate(whole.parameters):  # DDP's sum over ranks
        torch.testing.assert_close(sum(part.parameters[position] for part in parts), wanted)
    for part in parts:
        for ours, wanted in zip(part.statistics, whole.statistics, strict=True):
            torch.testing.assert_close(ours, wanted)


@pytest.mark.slow
@each_layer
def test_without_sync_the_ranks_would_differ(index: int) -> None:
    """So that the test above can fail: a part of the batch has other statistics than the whole."""
    instance = LAYERS[index]
    if not getattr(instance.make(), "apply_act", True):
        pytest.skip("γ x + β: no statistics enter")
    whole, part = (_run(instance, sync=False, rank=rank).statistics for rank in (None, 0))
    assert any(not torch.allclose(ours, wanted) for ours, wanted in zip(part, whole, strict=True))


@each_layer
def test_without_a_process_group_sync_changes_nothing(index: int) -> None:
    alone, synced = (_run(LAYERS[index], sync=sync, rank=None) for sync in (False, True))
    for name, wanted in vars(alone).items():
        for ours, each in zip(getattr(synced, name), wanted, strict=True):
            torch.testing.assert_close(ours, each)


def _uneven(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = []
    for make in (lambda: PowerNorm(3, warmup_iters=0, sync=True), lambda: UnifiedNorm(3, warmup_iters=0, sync=True)):
        layer = make()
        for rows, mask in ((4 * rank, None), (4, torch.full((4,), rank == 0))):
            x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
            layer(x, mask).backward(torch.ones(rows, 3))
        found.append({name: buffer.clone() for name, buffer in layer.named_buffers()})
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_a_rank_with_nothing_to_add_takes_part(tmp_path: Path) -> None:
    """An empty batch, or one that is all padding, on one rank: the other's statistics are both ranks'."""
    mp.spawn(_uneven, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for ours, theirs in zip(first, second, strict=True):
        for name, buffer in ours.items():
            torch.testing.assert_close(buffer, theirs[name])
            assert buffer.isfinite().all()
