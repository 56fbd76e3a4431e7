"""CRMSNorm equals RMSNorm and LayerNorm of the whole zero-mean vector."""

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from normkit.functional.crms_norm import crms_norm

KERNELS = pytest.mark.parametrize("kernel", ["torch", "reference"])


@KERNELS
@pytest.mark.parametrize("size", [2, 3, 8, 769])
def test_is_layer_norm_of_the_whole_vector(kernel: str, size: int) -> None:
    x = torch.randn(5, size, dtype=torch.float64)
    x = x - x.mean(-1, keepdim=True)
    y = crms_norm(x[:, :-1], eps=1e-5, kernel=kernel)
    assert_close(y, F.layer_norm(x, (size,))[:, :-1], rtol=1e-12, atol=1e-12)
    assert_close(y, F.rms_norm(x, (size,), eps=1e-5)[:, :-1], rtol=1e-12, atol=1e-12)


@KERNELS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_are_float32_for_half_inputs(kernel: str, dtype: torch.dtype) -> None:
    z, w = (10 * torch.randn(4, 2047)).to(dtype), torch.randn(2047)
    y = crms_norm(z, w, kernel=kernel)
    assert y.dtype == dtype
    exact = crms_norm(z.double(), w.double(), kernel="reference")
    assert_close(y.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=2 * torch.finfo(dtype).eps)


@KERNELS
def test_zeros_have_a_finite_gradient(kernel: str) -> None:
    z = torch.zeros(2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(crms_norm(z, kernel=kernel).sum(), z)
    assert gradient.isfinite().all()


def test_scalar_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it: no check of annotations
    with pytest.raises(ValueError, match="crms_norm: input must have at least one axis"):
        crms_norm(torch.tensor(1.0))


def test_must_raise() -> None:
    with pytest.raises(ValueError, match=r"crms_norm: weight must have the shape \(4,\), got \(4, 1\)"):
        crms_norm(torch.ones(2, 4), torch.ones(4, 1))
    with pytest.raises(ValueError, match="crms_norm: eps must be at least 0"):
        crms_norm(torch.ones(2, 4), eps=-1.0)
    with pytest.raises(TypeError, match=r"crms_norm: input must be a float tensor, got torch.int64"):
        crms_norm(torch.ones(2, 4, dtype=torch.int64))
