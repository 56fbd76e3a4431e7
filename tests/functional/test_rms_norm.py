"""RMSNorm: the three roundings in use, offset and bias, residual form, and what must be raised."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from normkit.functional.rms_norm import rms_norm

KERNELS = pytest.mark.parametrize("kernel", ["torch", "reference"])


def normal(x: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)


@KERNELS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_roundings_are_those_of_the_models(kernel: str, dtype: torch.dtype) -> None:
    """llama: w · round(n); gemma: round(n · (1 + w)); torch: its own operator. Bit for bit, but for ties in n."""
    x, w = torch.randn(64, 512).to(dtype), (0.3 * torch.randn(512)).to(dtype)
    llama, gemma = w * normal(x, 1e-6).to(dtype), (normal(x, 1e-6) * (1 + w.float())).to(dtype)
    for cast, offset, wanted in (
        ("llama", 0.0, llama),
        ("gemma", 1.0, gemma),
        ("torch", 0.0, F.rms_norm(x, (512,), w, 1e-6)),
    ):
        y = rms_norm(x, (512,), w, 1e-6, offset=offset, cast=cast, kernel=kernel)
        assert y.dtype == dtype
        assert (y == wanted).float().mean() > 0.999, cast
    once, twice = (rms_norm(x, (512,), w, 1e-6, cast=cast, kernel=kernel) for cast in ("torch", "llama"))
    assert (once != twice).float().mean() > 0.05


@KERNELS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_roundings_agree_where_nothing_is_narrow(kernel: str, dtype: torch.dtype) -> None:
    x, w, b = torch.randn(3, 8, dtype=dtype), torch.randn(8, dtype=dtype), torch.randn(8, dtype=dtype)
    wanted = F.rms_norm(x, (8,), None, 1e-5) * (w + 0.5) + b
    for cast in ("torch", "llama", "gemma"):
        y = rms_norm(x, (8,), w, 1e-5, bias=b, offset=0.5, cast=cast, kernel=kernel)
        assert_close(y, wanted, rtol=1e-6, atol=1e-6)


@KERNELS
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_default_eps_is_torchs(kernel: str, dtype: torch.dtype) -> None:
    x = torch.full((2, 8), 3e-4, dtype=torch.float64).to(dtype)
    assert_close(rms_norm(x, (8,), kernel=kernel), F.rms_norm(x, (8,)))


@KERNELS
@pytest.mark.parametrize("cast", ["torch", "llama", "gemma"])
def test_float32_weight_on_half_input(kernel: str, cast: str) -> None:
    x, w = torch.randn(4, 16).bfloat16(), torch.randn(16)
    y = rms_norm(x, (16,), w, 1e-6, cast=cast, kernel=kernel)
    assert y.dtype == torch.bfloat16
    assert_close(y.float(), normal(x, 1e-6) * w, rtol=2e-2, atol=2e-2)


@KERNELS
def test_residual(kernel: str) -> None:
    x, r, w = torch.randn(4, 9), torch.randn(4, 9), torch.randn(9)
    y, total = rms_norm(x, (9,), w, 1e-6, residual=r, prenorm=True, kernel=kernel)
    assert_close(y, F.rms_norm(x + r, (9,), w, 1e-6))
    assert torch.equal(total, x + r)
    assert_close(rms_norm(x, (9,), w, 1e-6, residual=r, kernel=kernel), y)


def test_scale_of_the_input_does_not_matter() -> None:
    x = torch.randn(4, 9, dtype=torch.float64)
    assert_close(rms_norm(1e3 * x, (9,), eps=0.0), rms_norm(x, (9,), eps=0.0), rtol=1e-12, atol=1e-12)


def test_must_raise() -> None:
    x = torch.randn(2, 4)
    with pytest.raises(ValueError, match="rms_norm: cast is 'torch', 'llama' or 'gemma', not 'bert'"):
        rms_norm(x, (4,), cast="bert")
    with pytest.raises(ValueError, match=r"rms_norm: normalized_shape \(3,\) must be the trailing axes"):
        rms_norm(x, (3,))
    with pytest.raises(ValueError, match=r"rms_norm: bias must have the shape \(4,\), got \(1,\)"):
        rms_norm(x, (4,), bias=torch.ones(1))
    with pytest.raises(ValueError, match="rms_norm: eps must be at least 0"):
        rms_norm(x, (4,), eps=-1.0)
    with pytest.raises(TypeError, match=r"rms_norm: input must be a float tensor, got torch.bool"):
        rms_norm(torch.ones(2, 4, dtype=torch.bool), (4,))


@pytest.mark.parametrize("kernel", [None, "torch", "reference"])
@pytest.mark.parametrize("shape", [(3, 8), (2, 4, 8)])
def test_out_may_not_be_the_input_that_is_returned_beside_it(shape, kernel):
    x, residual = torch.randn(shape), torch.randn(shape)
    for out in (x, x.view(shape)):
        with pytest.raises(ValueError, match="prenorm=True returns the input, which out= would overwrite"):
            rms_norm(x, (8,), prenorm=True, out=out, kernel=kernel)
    wanted, total = rms_norm(x, (8,), residual=residual, kernel="reference"), x + residual
    y, summed = rms_norm(x, (8,), residual=residual, prenorm=True, out=x, kernel=kernel)  # the sum lies elsewhere
    assert y is x
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(summed, total)
