"""Softmax as its users call it: every size, axis and order of memory, difficult rows, and what must be raised."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from normkit import nn
from normkit.functional.log_softmax import log_softmax
from normkit.functional.softmax import softmax
from normkit.kernels import native
from normkit.kernels.reference.softmax import softmax as reference

WIDTHS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 511, 512, 513, 4095, 4096, 4097, 40000)


def ulp(y: Tensor, exact: Tensor) -> float:
    """Largest distance from float64 in units in the last place of a float32."""
    large = exact >= 2.0**-125
    unit = torch.exp2(torch.floor(torch.log2(exact[large])) - 23)
    return ((y.double()[large] - exact[large]).abs() / unit).max().item()


@pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_default_is_exact_at_every_width(width: int, scale: float) -> None:
    x = scale * torch.randn(3, width)
    exact = torch.softmax(x.double(), -1)
    assert ulp(softmax(x), exact) <= 6
    assert ulp(softmax(x, accuracy="high"), exact) <= 4
    assert ulp(softmax(x, out=torch.full_like(x, torch.nan)), exact) <= 6


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    data=st.data(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_axis_dtype_and_order(shape: list[int], data: st.DataObject, dtype: torch.dtype) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = torch.randn(shape).permute(order).to(dtype)
    y = softmax(x, dim)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    tolerance = 2 * torch.finfo(dtype).eps
    assert_close(y.double(), torch.softmax(x.double(), dim), rtol=tolerance, atol=tolerance)


def test_rows_are_distributions_blind_to_a_shift() -> None:
    x = torch.randn(5, 77)
    assert_close(softmax(x).double().sum(-1), torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-6)
    assert_close(softmax(x + 64), softmax(x), rtol=2e-5, atol=0)


@pytest.mark.parametrize("kernel", [None, "torch", "reference"])
def test_infinities_and_nan(kernel: str | None) -> None:
    inf = torch.inf
    x = torch.tensor(
        [[-inf, -inf, -inf], [-inf, 0.0, 1.0], [inf, 0.0, 1.0], [torch.nan, 0.0, 1.0], [3e38, -3e38, 3e38]]
    )
    y = softmax(x, kernel=kernel)
    assert y.isnan().all(1).tolist() == [True, False, True, True, False]
    assert_close(y, torch.softmax(x, -1), equal_nan=True)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (2, 0, 3)])
@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_empty(shape: tuple[int, ...], function: object) -> None:
    x = torch.zeros(shape, requires_grad=True)
    y = function(x)  # type: ignore[operator]
    assert y.shape == shape
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == shape


def test_scalar() -> None:
    assert softmax(torch.tensor(3.0), 0) == 1
    assert log_softmax(torch.tensor(3.0), -1) == 0


def test_dtype_is_cast_to_first() -> None:
    x = torch.tensor([1, 2, 3])
    assert_close(softmax(x, dtype=torch.float32), torch.softmax(x, -1, torch.float32))
    half = torch.randn(9).bfloat16()
    assert softmax(half, dtype=torch.float64).dtype == torch.float64
    with pytest.raises(TypeError, match=r"softmax: input must be a float tensor, got torch.int32"):
        softmax(half, dtype=torch.int32)


@pytest.mark.parametrize("wide", [5, 5000])
def test_in_place(wide: int) -> None:
    for x in (torch.randn(3, wide), torch.randn(3, 2 * wide)[:, :wide], torch.randn(wide, 3).mT):
        wanted = torch.softmax(x.double(), -1)
        assert softmax(x, out=x) is x
        assert_close(x.double(), wanted, rtol=1e-6, atol=1e-8)


def test_must_raise() -> None:
    x = torch.randn(2, 3)
    for bad in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(TypeError, match=f"softmax: input must be a float tensor, got {bad}"):
            softmax(torch.ones(2, 3, dtype=bad))
    with pytest.raises(IndexError, match=r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"):
        softmax(x, 2)
    with pytest.raises(ValueError, match=r"softmax: out must have the shape \(2, 3\), got \(3, 2\)"):
        softmax(x, out=torch.empty(3, 2))
    with pytest.raises(ValueError, match=r"softmax: out must be torch.float32, got torch.float64"):
        softmax(x, out=torch.empty(2, 3, dtype=torch.float64))
    memory = torch.randn(12)
    with pytest.raises(ValueError, match="softmax: out overlaps an input in part"):
        softmax(memory[:6].view(2, 3), out=memory[2:8].view(2, 3))
    with pytest.raises(ValueError, match="softmax: accuracy is 'default' or 'high', not 'best'"):
        softmax(x, accuracy="best")
    with pytest.raises(ValueError, match="softmax has no kernel 'fast'"):
        softmax(x, kernel="fast")


@pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)
def test_double_precision_goes_to_torch() -> None:
    x = torch.randn(3, 50, dtype=torch.float64)
    assert torch.equal(softmax(x), torch.softmax(x, -1))


def test_deterministic_does_not_depend_on_threads() -> None:
    x = torch.randn(1, 200_000)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            results.append(softmax(x, deterministic=True))
        finally:
            torch.set_num_threads(1)
    assert all(torch.equal(result, results[0]) for result in results)


def test_high_accuracy_without_the_native_kernel_goes_through_double() -> None:
    x = 30 * torch.randn(2, 5000)
    y = softmax(x, accuracy="high", kernel="torch")
    assert torch.equal(y, reference(x.double(), -1).float())


def test_layers_are_torchs() -> None:
    x = torch.randn(2, 3, 4, 5)
    for ours, torchs in ((nn.Softmax, torch.nn.Softmax), (nn.LogSoftmax, torch.nn.LogSoftmax)):
        assert issubclass(ours, torchs)
        assert repr(ours(dim=1)) == repr(torchs(dim=1))
        assert_close(ours(dim=1)(x), torchs(dim=1)(x))
        for tensor in (x, x[0], x[0, 0], x[0, 0, 0]):
            with pytest.warns(UserWarning, match="dim was not given"):
                y = ours()(tensor)
            with pytest.warns(UserWarning, match="Implicit dimension"):
                assert_close(y, torchs()(tensor))


@pytest.mark.parametrize("function", [softmax, log_softmax])
@pytest.mark.parametrize("shape", [(2, 16), (3, 4, 5), (300, 700)])
def test_writing_into_out_is_seen_by_autograd(function: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    saved, weight = torch.rand(shape), torch.ones(shape, requires_grad=True)
    product = (saved * weight).sum()
    function(torch.randn(shape), -1, out=saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()
