"""The normalised logistic loss: its gradient, its labels, and ranks whose batches are one."""

import copy
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from normkit.estimators import logistic_step
from normkit.losses import NormalizedLogisticLoss


def _data(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(12, 5, generator=draw, dtype=dtype), torch.randint(2, (12,), generator=draw)


def test_a_step_of_sgd_is_the_step() -> None:
    x, y = _data()
    theta = torch.randn(5, dtype=torch.float64, requires_grad=True)
    NormalizedLogisticLoss()(x @ theta, y).backward()
    signs = (2 * y - 1).numpy()[:, None]
    wanted = logistic_step(signs * x.numpy(), theta.detach().numpy(), 10.0)
    np.testing.assert_allclose((theta - 10.0 * theta.grad).detach().numpy(), wanted, rtol=1e-12)


def test_both_kinds_of_labels_and_shapes() -> None:
    x, y = _data()
    g = x.sum(1)
    loss = NormalizedLogisticLoss()(g, y)
    torch.testing.assert_close(NormalizedLogisticLoss(signed=True)(g[:, None], 2.0 * y[:, None] - 1), loss)
    torch.testing.assert_close(NormalizedLogisticLoss()(g, y.bool()), loss)


def test_the_gradient_does_not_shrink_with_what_is_right() -> None:
    g = torch.cat([torch.tensor([-0.1]), torch.full((999,), 60.0)]).requires_grad_()
    (gradient,) = torch.autograd.grad(NormalizedLogisticLoss()(g, torch.ones(1000)), g)
    torch.testing.assert_close(gradient[0], torch.tensor(-1.0))
    assert gradient[1:].abs().max() < 1e-20


def test_margins_at_which_every_sigmoid_underflows() -> None:
    g = torch.full((4,), 1e4, requires_grad=True)
    (gradient,) = torch.autograd.grad(NormalizedLogisticLoss()(g, torch.ones(4)), g)
    torch.testing.assert_close(gradient, torch.full((4,), -0.25))


def test_half_precision_is_computed_wide() -> None:
    x, y = _data(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = nn.Linear(5, 1)(x)
        assert logits.dtype is torch.bfloat16
        assert NormalizedLogisticLoss()(logits, y).dtype is torch.float32


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"targets must be 0 and 1 \(signed=False\), got -1"):
        NormalizedLogisticLoss()(torch.zeros(2), torch.tensor([-1, 1]))
    with pytest.raises(ValueError, match=r"targets must be -1 and 1"):
        NormalizedLogisticLoss(signed=True)(torch.zeros(2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="no sample"):
        NormalizedLogisticLoss()(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match=r"logits must be \(batch,\) or \(batch, 1\)"):
        NormalizedLogisticLoss()(torch.zeros(2, 2), torch.zeros(2, 2))


SIZES = ((9, 3), (12, 0))  # of the batches of two ranks


def _right(sizes: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Samples so far on the right side that every s is 0 in float64: only their logarithms have a sum."""
    x, y = _data()
    logits = (2 * y - 1) * (900.0 + x.sum(1))
    return list(zip(logits.split(sizes), y.split(sizes), strict=True))


def _gradient(logits: torch.Tensor, targets: torch.Tensor, **options: bool) -> torch.Tensor:
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(NormalizedLogisticLoss(**options)(leaf, targets), leaf)
    return gradient


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = [_gradient(*_right(sizes)[rank]) for sizes in SIZES]
    found += [_gradient(*_right(SIZES[0])[rank], sync=False)]
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_the_mean_over_ranks_is_the_joint_gradient(tmp_path: Path) -> None:
    mp.spawn(_rank, (str(tmp_path),), nprocs=2)
    *joint, alone = zip(*(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)), strict=True)
    for sizes, parts in zip(SIZES, joint, strict=True):
        logits, targets = (torch.cat(each) for each in zip(*_right(sizes), strict=True))
        torch.testing.assert_close(torch.cat(parts) / 2, _gradient(logits, targets))
    for part, samples in zip(alone, _right(SIZES[0]), strict=True):
        torch.testing.assert_close(part, _gradient(*samples))
        assert part.abs().sum().item() == pytest.approx(1.0)


def test_it_compiles_whole_and_works_in_torch_func() -> None:
    logits, targets = _right(SIZES[0])[0]
    loss = NormalizedLogisticLoss()
    jaxtyping.config.update("jaxtyping_disable", True)  # what is traced is the package as users have it
    try:
        torch.compiler.reset()
        compiled = torch.compile(copy.deepcopy(loss), fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(logits, targets), loss(logits, targets))
        torch.testing.assert_close(torch.func.grad(lambda g: loss(g, targets))(logits), _gradient(logits, targets))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    assert not NormalizedLogisticLoss()(torch.tensor([bad, 0.0]), torch.ones(2)).isfinite()
