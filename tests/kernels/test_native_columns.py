"""The native column norms' sums and affine passes against float64, in every type and shape of row."""

import pytest
import torch
from torch import Tensor

from normkit.kernels import native, native_columns

pytestmark = pytest.mark.skipif(bool(native.WHY_NOT), reason=native.WHY_NOT or "available")

SHAPES = [(1, 1), (3, 5), (2, 4, 48), (257, 64), (5, 2080), (1030, 130)]
ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def groups_of(channels: int) -> list[int]:
    return [groups for groups in (0, 1, 2, 5) if groups == 0 or channels % groups == 0]


def scaled(x: Tensor, groups: int, eps: float) -> Tensor:
    if not groups:
        return x
    parts = x.unflatten(-1, (groups, -1))
    return (parts * (parts.square().mean(-1, keepdim=True) + eps).rsqrt()).flatten(-2)


def near(found: Tensor | None, wanted: Tensor, dtype: torch.dtype = torch.float32) -> None:
    assert found is not None
    size = wanted.abs().max().item() + 1.0
    assert (found.double() - wanted).abs().max().item() <= 2 * ROUNDING[dtype] * size


@pytest.mark.parametrize("dtype", list(ROUNDING))
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_backward_are_those_of_float64(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    channels = shape[-1]
    x = torch.randn(shape, generator=draw).to(dtype)
    dy = torch.randn(shape, generator=draw).to(dtype)
    gain, shift, of_dy, of_u = torch.randn(4, channels, generator=draw)
    for groups in groups_of(channels):
        wide = x.double().requires_grad_()
        u = scaled(wide, groups, 0.25)
        y, scales, sums = native_columns.forward(x, gain, shift, groups=groups, eps=0.25, summed=True)
        near(y, u * gain + shift, dtype)
        assert sums is not None
        assert (scales is None) == (groups == 0)
        rows = tuple(range(x.ndim - 1))
        torch.testing.assert_close(sums[0], u.square().sum(rows).detach(), rtol=2e-6, atol=1e-5)
        assert not sums[1].any()
        dx, along = native_columns.backward(x, dy, of_dy, of_u, scales=scales, summed=True)
        du = of_dy * dy.double() - of_u * u.detach()
        near(dx, torch.autograd.grad(u, wide, du)[0], dtype)
        assert along is not None
        count = x.numel() / channels
        torch.testing.assert_close(along[0], (dy * u).sum(rows).detach(), rtol=2e-6, atol=2e-5 * count**0.5)
        torch.testing.assert_close(along[1], dy.double().sum(rows), rtol=2e-6, atol=2e-5 * count**0.5)


def test_rows_left_out_have_a_sum_of_their_own_and_no_nan_of_theirs_leaks() -> None:
    x = torch.randn(37, 20)
    left_out = torch.rand(37) < 0.4
    x[left_out] = torch.nan
    x[left_out.nonzero()[0]] = 2.0
    y, _, sums = native_columns.forward(x, torch.ones(20), left_out=left_out, summed=True)
    assert sums is not None
    torch.testing.assert_close(sums[0], x[~left_out].double().square().sum(0))
    assert sums[1].isnan().all()
    torch.testing.assert_close(y, x, equal_nan=True)


def test_the_scales_found_before_are_used_again() -> None:
    x = torch.randn(9, 24)
    y, scales, _ = native_columns.forward(x, torch.ones(24), groups=3, eps=1e-5)
    nothing, same, sums = native_columns.forward(x, groups=3, eps=1e-5, summed=True)
    assert nothing is None
    assert sums is not None
    assert torch.equal(same, scales)
    assert scales is not None
    again, _, _ = native_columns.forward(x, torch.ones(24), groups=3, scales=scales)
    assert torch.equal(again, y)
    doubled, _, _ = native_columns.forward(x, torch.ones(24), groups=3, scales=2 * scales)
    torch.testing.assert_close(doubled, 2 * again)


def test_rows_do_not_depend_on_the_number_of_threads_and_sums_hardly() -> None:
    x, dy, gain = torch.randn(2050, 96), torch.randn(2050, 96), torch.rand(96)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y, scales, sums = native_columns.forward(x, gain, groups=2, eps=1e-5, summed=True)
            dx, along = native_columns.backward(x, dy, gain, gain, scales=scales, summed=True)
            found.append((y, dx, sums, along))
    finally:
        torch.set_num_threads(before)
    for y, dx, sums, along in found[1:]:
        assert torch.equal(y, found[0][0])
        assert torch.equal(dx, found[0][1])
        torch.testing.assert_close(sums, found[0][2], rtol=1e-6, atol=0.0)
        torch.testing.assert_close(along, found[0][3], rtol=1e-5, atol=1e-3)


def test_y_may_be_written_over_x() -> None:
    x = torch.randn(70, 33)
    wanted, _, _ = native_columns.forward(x.clone(), torch.full((33,), 2.0))
    y, _, _ = native_columns.forward(x, torch.full((33,), 2.0), out=x)
    assert y is x
    assert torch.equal(x, wanted)
