"""The column kernels, and power and unified norm on top of them, against float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from normkit import functional as F
from normkit.kernels.reference import power_norm as reference
from normkit.kernels.triton import availability, columns
from tests.kernels.triton.comparison import DTYPES, TOLERANCE, close, normal

pytestmark = pytest.mark.skipif(bool(availability.WHY_NOT), reason=availability.WHY_NOT)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "groups"), [((3, 5), 0), ((2, 4, 48), 3), ((37, 20), 1), ((5, 1300), 0)])
def test_both_passes(shape, groups, dtype, device):
    x, dy = (normal(*shape, dtype=dtype, device=device) for _ in range(2))
    gain, shift, of_dy, of_u = (normal(shape[-1], dtype=torch.float32, device=device) for _ in range(4))
    wide = x.double().requires_grad_()
    u = reference.layer_scale(wide, groups, 0.25)
    y, scales, sums = columns.forward(x, gain, shift, groups=groups, eps=0.25, summed=True)
    rows = tuple(range(x.ndim - 1))
    close(y, (u * gain + shift).detach(), TOLERANCE[dtype])
    close(sums[0], u.detach().square().sum(rows), 2e-6)
    assert not sums[1].any()
    dx, along = columns.backward(x, dy, of_dy, of_u, scales=scales, summed=True)
    du = of_dy * dy.double() - of_u * u.detach()
    close(dx, torch.autograd.grad(u, wide, du)[0], 4 * TOLERANCE[dtype])
    close(along[0], (dy * u).sum(rows).detach(), 4e-6)
    close(along[1], dy.double().sum(rows), 4e-6)


def test_rows_left_out_and_scales_that_are_given(device):
    x = normal(70, 24, dtype=torch.float32, device=device)
    left_out = torch.arange(70, device=device) % 3 == 0
    y, scales, sums = columns.forward(
        x, torch.ones(24, device=device), groups=2, eps=1e-5, left_out=left_out, summed=True
    )
    u = reference.layer_scale(x.double(), 2, 1e-5)
    close(sums[0], u[~left_out].square().sum(0), 2e-6)
    close(sums[1], u[left_out].square().sum(0), 2e-6)
    again, same, nothing = columns.forward(x, torch.ones(24, device=device), groups=2, scales=scales)
    assert nothing is None
    assert same is scales
    assert torch.equal(again, y)


def power(x: Tensor, weight: Tensor, bias: Tensor, state: list[Tensor], kernel: str) -> Tensor:
    return F.power_norm(x, weight, bias, *state, True, warmup_iters=2, group_num=2, alpha_bwd=0.8, kernel=kernel)


def exact(x: Tensor, weight: Tensor, bias: Tensor, state: list[Tensor], kernel: str) -> Tensor:
    return F.power_norm(x, weight, bias, *state, True, "pn-v", kernel=kernel)


def unified(x: Tensor, weight: Tensor, bias: Tensor, state: list[Tensor], kernel: str) -> Tensor:
    options = {"training": True, "warmup_iters": 2, "outlier_filtration": True}
    return F.unified_norm(x, weight, bias, *state, **options, kernel=kernel)


def state_of(norm: Callable[..., Tensor], device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    one, zero = torch.ones(12, device=device, dtype=dtype), torch.zeros(12, device=device, dtype=dtype)
    counters = [torch.tensor(0, device=device) for _ in range(2)]
    if norm is unified:
        return [one, zero, zero.expand(3, -1).clone(), zero.expand(3, -1).clone(), *counters]
    return [one, zero, counters[0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", [power, exact, unified])
def test_steps_of_training(norm, dtype, device):
    ours, truth = state_of(norm, device, torch.float32), state_of(norm, device, torch.float64)
    for step in range(6):
        x = normal(4, 5, 12, dtype=dtype, device=device, scale=20.0 if step == 4 else 1.0)
        dy = normal(4, 5, 12, dtype=dtype, device=device)
        parameters = [normal(12, dtype=dtype, device=device) for _ in range(2)]
        results = []
        for state, wide, kernel in ((ours, dtype, "triton"), (truth, torch.float64, "reference")):
            leaves = [each.to(wide).requires_grad_() for each in (x, *parameters)]
            y = norm(*leaves, state, kernel)
            results.append([y.detach(), *torch.autograd.grad(y, leaves, dy.to(wide))])
        for one, other in zip(*results, strict=True):
            close(one, other, 8 * TOLERANCE[dtype])
        for one, other in zip(ours, truth, strict=True):
            close(one, other, 1e-4)
