"""Log-softmax: the bound of its error, its relation to softmax and to log-sum-exp, and what must be raised."""

import pytest
import torch
from torch.testing import assert_close

from normkit.functional.log_softmax import log_softmax
from normkit.functional.logsumexp import logsumexp
from normkit.functional.softmax import softmax
from normkit.kernels import native


@pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)
@pytest.mark.parametrize("width", [1, 5, 33, 1000, 40000])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_error_is_one_unit_of_the_largest_number_involved(width: int, shift: float) -> None:
    x = 4 * torch.randn(3, width) + shift
    exact = torch.log_softmax(x.double(), -1)
    total = torch.logsumexp(x.double(), -1, keepdim=True)
    # y counts too: both subtractions round at its size, which may lie a power of two above those of x and L.
    largest = torch.stack([x.double().abs(), total.abs().expand_as(exact), exact.abs()]).amax(0)
    unit = torch.exp2(torch.floor(torch.log2(largest)) - 23)
    assert ((log_softmax(x).double() - exact).abs() <= unit + 3e-7).all()


def test_relations() -> None:
    x = torch.randn(4, 50)
    assert_close(log_softmax(x).exp(), softmax(x), rtol=1e-5, atol=1e-7)
    assert_close(log_softmax(x), x - logsumexp(x, -1, True), rtol=1e-5, atol=2e-6)
    assert_close(log_softmax(x, 0), log_softmax(x.mT, 1).mT)


@pytest.mark.parametrize("width", [7, 3000])
def test_in_place(width: int) -> None:
    x = torch.randn(3, width)
    wanted = torch.log_softmax(x.double(), -1)
    assert log_softmax(x, out=x) is x
    assert_close(x.double(), wanted, rtol=1e-6, atol=2e-6)


def test_gradient_of_long_sums_is_within_their_size() -> None:
    """The row's sum of incoming gradients is carried in double: torch's float32 sum is not held to this."""
    if not native.AVAILABLE:
        pytest.skip(native.WHY_NOT)
    x, dy = torch.randn(1, 100_000, requires_grad=True), torch.randn(1, 100_000) + 1
    (gradient,) = torch.autograd.grad(log_softmax(x), x, dy)
    wide = x.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad(torch.log_softmax(wide, -1), wide, dy.double())
    assert (gradient.double() - wanted).abs().max() <= 1e-6 * dy.double().sum().abs()


def test_must_raise() -> None:
    for bad in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(TypeError, match=f"log_softmax: input must be a float tensor, got {bad}"):
            log_softmax(torch.ones(2, 3, dtype=bad))
    with pytest.raises(IndexError, match=r"expected to be in range of \[-2, 1\], but got -3"):
        log_softmax(torch.ones(2, 3), -3)
    with pytest.raises(ValueError, match="log_softmax: out must have the shape"):
        log_softmax(torch.ones(2, 3), out=torch.empty(2))
    with pytest.raises(ValueError, match="log_softmax: accuracy is"):
        log_softmax(torch.ones(2, 3), accuracy="")
