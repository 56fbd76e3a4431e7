"""Log-sum-exp: its error at any length, several axes, and what must be raised."""

import pytest
import torch
from torch.testing import assert_close

from normkit.functional.logsumexp import logsumexp
from normkit.kernels import native


@pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)
@pytest.mark.parametrize("width", [1, 33, 1000, 40000, 1 << 20])
def test_error_does_not_grow_with_length(width: int) -> None:
    x = 4 * torch.randn(1, width)
    exact = torch.logsumexp(x.double(), -1)
    assert ((logsumexp(x).double() - exact).abs() <= 2e-7 * exact.abs().clamp(min=1)).all()


@pytest.mark.parametrize("dim", [0, -1, (0, 2), [2, 1], (-1, 0, 1)])
@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("kernel", [None, "torch", "reference"])
def test_axes(dim: int | tuple[int, ...], keepdim: bool, kernel: str | None) -> None:
    x = torch.randn(2, 3, 4)
    wanted = torch.logsumexp(x, dim, keepdim)
    assert_close(logsumexp(x, dim, keepdim, kernel=kernel), wanted, rtol=1e-6, atol=1e-6)
    out = torch.empty_like(wanted)
    assert logsumexp(x, dim, keepdim, kernel=kernel, out=out) is out
    assert_close(out, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel", [None, "torch", "reference"])
def test_empty_masked_infinite_and_nan_rows(kernel: str | None) -> None:
    inf = torch.inf
    x = torch.tensor([[-inf, -inf], [-inf, 2.0], [inf, 0.0], [torch.nan, 0.0]])
    assert_close(logsumexp(x, kernel=kernel), torch.tensor([-inf, 2.0, inf, torch.nan]), equal_nan=True)
    assert torch.equal(logsumexp(torch.zeros(2, 0), kernel=kernel), torch.full((2,), -inf))
    assert logsumexp(torch.zeros(0, 2), kernel=kernel).shape == (0,)
    assert logsumexp(torch.tensor(5.0), kernel=kernel) == 5


def test_must_raise() -> None:
    x = torch.zeros(2, 3)
    for bad in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(TypeError, match=f"logsumexp: input must be a float tensor, got {bad}"):
            logsumexp(torch.ones(2, 3, dtype=bad))
    with pytest.raises(IndexError, match=r"expected to be in range of \[-2, 1\], but got 2"):
        logsumexp(x, (0, 2))
    for dim in ((), (1, -1)):
        with pytest.raises(ValueError, match="logsumexp: dim must name at least one axis and each only once"):
            logsumexp(x, dim)
    with pytest.raises(ValueError, match=r"logsumexp: out must have the shape \(2,\), got \(2, 1\)"):
        logsumexp(x, out=torch.empty(2, 1))


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("width", [3, 40, 700, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_of_infinite_rows(dim: int, width: int, dtype: torch.dtype) -> None:
    """As in torch: NaN where x is +inf and 0 beside it; NaN throughout for a NaN or nothing but −inf."""
    x = torch.randn(6, width).to(dtype)
    x[0, 1], x[1, 0], x[1, 2], x[3, 1] = (torch.inf,) * 3 + (-torch.inf,)
    x[2], x[4, 1], x[5, 0], x[5, 1] = -torch.inf, torch.nan, torch.nan, torch.inf
    x = (x if dim else x.T.contiguous()).requires_grad_()
    wide = x.detach().float().requires_grad_()  # torch's bfloat16 gradient carries the rounding of L
    (ours,) = torch.autograd.grad(logsumexp(x, dim).sum(), x)
    (wanted,) = torch.autograd.grad(torch.logsumexp(wide, dim).sum(), wide)
    assert_close(ours, wanted.to(dtype), equal_nan=True)
