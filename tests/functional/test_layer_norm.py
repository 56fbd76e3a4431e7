"""LayerNorm: half precision, residual form, constant rows, and what must be raised."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from normkit.functional.layer_norm import layer_norm

KERNELS = pytest.mark.parametrize("kernel", ["torch", "reference"])


@KERNELS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("parameters", [None, torch.float32, torch.float64])
def test_statistics_are_float32_for_half_inputs(
    kernel: str, dtype: torch.dtype, parameters: torch.dtype | None
) -> None:
    """A large mean: E[x²] − E[x]² in half precision, or rounding the difference from the mean, would show."""
    x = (100 + torch.randn(8, 256)).to(dtype)
    w, b = torch.randn(256), torch.randn(256)
    w, b = w.to(parameters or dtype), b.to(parameters or dtype)
    y = layer_norm(x, (256,), w, b, kernel=kernel)
    assert y.dtype == dtype
    wanted = F.layer_norm(x.double(), (256,), w.double(), b.double())
    assert_close(y.double(), wanted, rtol=2 * torch.finfo(dtype).eps, atol=2 * torch.finfo(dtype).eps)


@KERNELS
def test_residual(kernel: str) -> None:
    x, r, w, b = torch.randn(4, 9), torch.randn(4, 9), torch.randn(9), torch.randn(9)
    wanted = F.layer_norm(x + r, (9,), w, b)
    assert_close(layer_norm(x, (9,), w, b, residual=r, kernel=kernel), wanted)
    y, total = layer_norm(x, (9,), w, b, residual=r, prenorm=True, kernel=kernel)
    assert_close(y, wanted)
    assert torch.equal(total, x + r)
    y, total = layer_norm(x, (9,), prenorm=True, kernel=kernel)
    assert total is x


def test_out_takes_the_normalised_sum() -> None:
    x, r = torch.randn(4, 9), torch.randn(4, 9)
    wanted = F.layer_norm(x + r, (9,))
    y, total = layer_norm(x, (9,), residual=r, prenorm=True, out=x)
    assert y is x
    assert_close(x, wanted)
    assert total is not x


@KERNELS
def test_constant_rows_give_the_bias_and_a_finite_gradient(kernel: str) -> None:
    x, b = torch.full((2, 5), 3.0, requires_grad=True), torch.arange(5.0)
    y = layer_norm(x, (5,), torch.ones(5), b, kernel=kernel)
    assert_close(y, b.expand(2, 5))
    assert torch.autograd.grad(y.square().sum(), x)[0].isfinite().all()


@KERNELS
def test_large_offsets_keep_their_digits(kernel: str) -> None:
    """What is lost is half a unit of the float32 mean, counted in deviations; E[x²] − E[x]² would lose all."""
    mean, deviation = 1e4, 1e-2
    x = (mean + deviation * torch.randn(3, 4096, dtype=torch.float64)).float()
    unit = 2.0 ** (13 - 23)
    wanted = F.layer_norm(x.double(), (4096,), eps=0.0)
    y = layer_norm(x, (4096,), eps=0.0, kernel=kernel)
    assert_close(y.double(), wanted, rtol=1e-5, atol=unit / 2 / deviation)


def test_must_raise() -> None:
    x = torch.randn(2, 4)
    with pytest.raises(ValueError, match=r"layer_norm: normalized_shape \(5,\) must be the trailing axes .* \(2, 4\)"):
        layer_norm(x, (5,))
    with pytest.raises(ValueError, match=r"layer_norm: weight must have the shape \(4,\), got \(5,\)"):
        layer_norm(x, (4,), torch.ones(5))
    with pytest.raises(ValueError, match=r"layer_norm: bias must have the shape \(4,\), got \(2,\)"):
        layer_norm(x, (4,), None, torch.ones(2))
    with pytest.raises(ValueError, match="layer_norm: eps must be at least 0"):
        layer_norm(x, (4,), eps=-1e-5)
    with pytest.raises(TypeError, match=r"layer_norm: input must be a float tensor, got torch.int64"):
        layer_norm(torch.ones(2, 4, dtype=torch.int64), (4,))


@pytest.mark.parametrize("kernel", [None, "torch", "reference"])
@pytest.mark.parametrize("shape", [(3, 8), (2, 4, 8)])
def test_out_may_not_be_the_input_that_is_returned_beside_it(shape, kernel):
    x, residual = torch.randn(shape), torch.randn(shape)
    for out in (x, x.view(shape)):
        with pytest.raises(ValueError, match="prenorm=True returns the input, which out= would overwrite"):
            layer_norm(x, (8,), prenorm=True, out=out, kernel=kernel)
    wanted, total = layer_norm(x, (8,), residual=residual, kernel="reference"), x + residual
    y, summed = layer_norm(x, (8,), residual=residual, prenorm=True, out=x, kernel=kernel)  # the sum lies elsewhere
    assert y is x
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(summed, total)
