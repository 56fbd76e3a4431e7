"""The sum of exponentials as a pair: exact at any size, mergeable in any order, differentiable."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from normkit import kernels
from normkit.functional.softmax_pair import merge_pairs, softmax_pair

INF, NAN = float("inf"), float("nan")


def logarithm(pair: tuple[Tensor, Tensor]) -> Tensor:
    return pair[0].double().log() + pair[1].double() * math.log(2)


def assert_is_logsumexp(pair: tuple[Tensor, Tensor], x: Tensor, dim: int = -1) -> None:
    """The mantissa within 1e-6, which the logarithm shows as an absolute error."""
    wanted = torch.logsumexp(x.double(), dim)
    assert_close(logarithm(pair), wanted, rtol=1e-7 if float(wanted.abs().max()) > 1e5 else 1e-15, atol=1e-6)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("width", [1, 7, 16, 33, 600, 70001])
@pytest.mark.parametrize("offset", [0.0, -5e4, 9e4, 3e6, -1e7])
def test_logarithm(native: bool, width: int, offset: float) -> None:
    x = 4 * torch.randn(3, width) + offset
    with kernels.disabled(*([] if native else ["native"])):
        mantissa, exponent = softmax_pair(x)
    assert mantissa.dtype == exponent.dtype == torch.float32
    assert ((mantissa >= 0.5) & (mantissa <= 1)).all()
    assert (exponent == exponent.round()).all()
    assert_is_logsumexp((mantissa, exponent), x)


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    data=st.data(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_axis_dtype_and_order(shape: list[int], data: st.DataObject, dtype: torch.dtype) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = (20 * torch.randn(shape)).permute(order).to(dtype)
    pair = softmax_pair(x, dim)
    assert pair[0].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_is_logsumexp(pair, x, dim)


@pytest.mark.parametrize("native", [True, False])
def test_difficult_rows(native: bool) -> None:
    x = torch.tensor(
        [[-INF, -INF, -INF], [INF, 0.0, 1.0], [NAN, 0.0, 1.0], [-INF, 3.0, -INF], [3e38, 3e38, -3e38], [-3e38] * 3]
    )
    with kernels.disabled(*([] if native else ["native"])):
        mantissa, exponent = softmax_pair(x)
    assert (mantissa[0], exponent[0]) == (0, -INF)
    assert (mantissa[1], exponent[1]) == (INF, 0)
    assert mantissa[2].isnan()
    assert_is_logsumexp((mantissa[3:4], exponent[3:4]), x[3:4])
    assert (mantissa[4:].isfinite() & exponent[4:].isfinite() & (mantissa[4:] > 0)).all()
    assert [pair.tolist() for pair in softmax_pair(x[:1, :0])] == [[0.0], [-INF]]


@given(cuts=st.lists(st.integers(0, 300), max_size=5), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=50, deadline=None)
def test_pieces_merge_in_any_order(cuts: list[int], seed: int, data: st.DataObject) -> None:
    x = 50 * torch.randn(2, 300, generator=torch.Generator().manual_seed(seed))
    edges = [0, *sorted(cuts), 300]
    pieces = [softmax_pair(x[:, a:b]) for a, b in pairwise(edges)]
    merged = softmax_pair(x[:, :0])
    for piece in data.draw(st.permutations(pieces)):
        merged = merge_pairs(merged, piece)
    assert_is_logsumexp(merged, x)


def test_merging_difficult_pairs() -> None:
    number, nothing, infinite = (
        (torch.tensor(m), torch.tensor(e)) for m, e in ((0.7, 1000.0), (0.0, -INF), (INF, 0.0))
    )
    assert [float(part) for part in merge_pairs(nothing, nothing)] == [0.0, -INF]
    assert_close(merge_pairs(number, nothing), number)
    assert float(merge_pairs(number, infinite)[0]) == INF
    assert merge_pairs(number, (torch.tensor(NAN), torch.tensor(0.0)))[0].isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivative(dtype: torch.dtype) -> None:
    """d log Σ e^x = d mantissa / mantissa, the exponent being constant; through a merge as well."""
    x = torch.randn(3, 40, dtype=dtype, requires_grad=True)
    mantissa, exponent = merge_pairs(softmax_pair(x[:, :11]), softmax_pair(x[:, 11:]))
    assert not exponent.requires_grad
    (dx,) = torch.autograd.grad(mantissa.log().sum(), x)
    assert_close(dx, x.detach().softmax(-1), rtol=1e-5, atol=1e-6)


def test_second_derivative() -> None:
    assert torch.autograd.gradgradcheck(
        lambda x: softmax_pair(x, 0)[0], torch.randn(5, 2, dtype=torch.float64).requires_grad_()
    )
    x = torch.randn(2, 5, requires_grad=True)
    (dx,) = torch.autograd.grad(softmax_pair(x)[0].log().sum(), x, create_graph=True)
    ours = torch.autograd.grad(dx.square().sum(), x)[0]
    assert_close(ours, torch.autograd.grad(x.softmax(-1).square().sum(), x)[0], rtol=1e-4, atol=1e-6)


def test_transforms() -> None:
    x = torch.randn(3, 6)
    assert_close(torch.vmap(lambda row: softmax_pair(row)[0])(x), softmax_pair(x)[0])
    ours = torch.func.grad(lambda t: softmax_pair(t)[0].log().sum())(x)
    assert_close(ours, x.softmax(-1))


def test_what_must_be_raised() -> None:
    with pytest.raises(TypeError, match="int64"):
        softmax_pair(torch.ones(3, dtype=torch.int64))
    with pytest.raises(IndexError, match="Dimension out of range"):
        softmax_pair(torch.ones(3), 1)
