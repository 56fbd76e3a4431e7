"""The native row norms against the references in float64, under every instruction set that this machine has."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from normkit import functional as F
from normkit.kernels import native
from normkit.kernels.dispatch import operations

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)

if native.AVAILABLE:
    from normkit import _native

    ISAS = [isa["name"] for isa in _native.available() if isa["supported"]]
else:
    ISAS = []

INF, NAN = float("inf"), float("nan")
WIDTHS = [1, 2, 7, 8, 9, 31, 32, 33, 511, 512, 513, 4095, 4096, 4097, 70_000]
HALF = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


class Norm(NamedTuple):
    """A norm as a function of the rows, their residual, gain and shift; those that it does not have are ignored."""

    op: str
    call: Callable[..., Any]
    has_residual: bool = False
    has_shift: bool = False


def _layer(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Any:
    return F.layer_norm(x, weight.shape, weight, bias, **options)


def _rms(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Any:
    return F.rms_norm(x, weight.shape, weight, 1e-6, **options)


def _shifted_rms(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Any:
    return F.rms_norm(x, weight.shape, weight, 1e-6, bias=bias, offset=1.0, **options)


def _compressed(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Any:
    return F.crms_norm(x, weight, **options)


def _layer_of_sum(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Any:
    return F.layer_norm(x, weight.shape, weight, bias, residual=residual, prenorm=True, **options)


def _rms_of_sum(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Any:
    return F.rms_norm(x, weight.shape, weight, 1e-6, residual=residual, prenorm=True, **options)


NORMS = {
    "layer": Norm("layer_norm", _layer, has_shift=True),
    "rms": Norm("rms_norm", _rms),
    "rms with offset and bias": Norm("rms_norm", _shifted_rms, has_shift=True),
    "crms": Norm("crms_norm", _compressed),
    "layer of a sum": Norm("layer_norm", _layer_of_sum, has_residual=True, has_shift=True),
    "rms of a sum": Norm("rms_norm", _rms_of_sum, has_residual=True),
}


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.isa()
    _native.use_isa(request.param)
    yield request.param
    _native.use_isa(before)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[False, True], ids=["stored", "streamed"])
def streamed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Results that count as larger than the cache, and others."""
    before = _native.thresholds()["cache_bytes"]
    _native.set_threshold("cache_bytes", 16 if request.param else 2**40)
    yield
    _native.set_threshold("cache_bytes", before)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def arguments(rows: int, dim: int) -> list[Tensor]:
    return [normal(rows, dim), normal(rows, dim, seed=1), normal(dim, seed=2), normal(dim, seed=3)]


def results(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)


def gradients(
    norm: Norm, given: list[Tensor], kernel: str, stored: torch.dtype = torch.float32
) -> tuple[list[Tensor], list[Tensor]]:
    """The results, and the gradients of a weighted sum of them, with weights that `stored` holds exactly."""
    own = [each.detach().requires_grad_() for each in given]
    found = results(norm.call(*own, kernel=kernel))
    upstream = [normal(*each.shape, seed=9 + place).to(stored).to(each.dtype) for place, each in enumerate(found)]
    wanted = [own[0], own[2]] + [own[1]] * norm.has_residual + [own[3]] * norm.has_shift
    return [each.detach() for each in found], list(torch.autograd.grad(found, wanted, upstream))


def assert_near(found: Tensor, exact: Tensor, bound: float, what: str) -> None:
    """The bound holds for entries up to 1, and in proportion above."""
    error = (found.double() - exact).abs() / exact.abs().clamp(min=1.0)
    assert error.max() <= bound, f"{what}: {error.max():.3g} > {bound}"


def test_every_norm_is_listed_as_an_operation_with_a_native_kernel() -> None:
    for norm in NORMS.values():
        assert "native" in operations()[norm.op].implementations


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dim", WIDTHS)
def test_forward_and_backward(isa: str, streamed: None, dim: int, name: str) -> None:
    norm, rows = NORMS[name], 3 if dim > 10_000 else 7
    given = arguments(rows, dim)
    found, slopes = gradients(norm, given, "native")
    exact, exact_slopes = gradients(norm, [each.double() for each in given], "reference")
    for place, (one, other) in enumerate(zip(found, exact, strict=True)):
        assert_near(one, other, 2e-6, f"result {place}")
    for place, (one, other) in enumerate(zip(slopes, exact_slopes, strict=True)):
        # A row of 1 or 2 entries is nearly constant: its slope is the small difference of large terms, of size 1/std.
        bound = 5e-6 * rows**0.5 if one.ndim == 1 else 2e-6 if dim > 2 else 1e-4
        assert_near(one, other, bound, f"gradient {place}")


@pytest.mark.parametrize("name", NORMS)
def test_many_rows(isa: str, name: str) -> None:
    """More rows than are added up in float32 before they go into a double, and not a multiple of four."""
    norm, given = NORMS[name], arguments(1027, 33)
    _, slopes = gradients(norm, given, "native")
    _, exact = gradients(norm, [each.double() for each in given], "reference")
    for one, other in zip(slopes, exact, strict=True):
        assert_near(one, other, 5e-6 * 1027**0.5 if one.ndim == 1 else 2e-6, "gradient")


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize(("rows", "dim"), [(131, 515), (3, 70_000), (1, 70_000)])
def test_the_number_of_threads_changes_no_row(isa: str, threads: None, rows: int, dim: int, name: str) -> None:
    norm, given = NORMS[name], arguments(rows, dim)
    torch.set_num_threads(1)
    alone, slopes_alone = gradients(norm, given, "native")
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        found, slopes = gradients(norm, given, "native")
        _, again = gradients(norm, given, "native")
        assert all(map(torch.equal, found, alone))
        assert all(map(torch.equal, slopes, again)), "gradients differ from call to call"
        for one, other in zip(slopes, slopes_alone, strict=True):
            if one.ndim == 2:
                assert torch.equal(one, other)
            else:
                assert_near(one, other.double(), 5e-6 * rows**0.5, "gradient of a parameter")


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("dim", [7, 33, 512, 4097])
@pytest.mark.parametrize("name", NORMS)
def test_half_types_are_rounded_once(isa: str, dtype: torch.dtype, dim: int, name: str) -> None:
    norm = NORMS[name]
    x, residual, weight, bias = arguments(5, dim)
    x, residual = x.to(dtype), residual.to(dtype)
    found, slopes = gradients(norm, [x, residual, weight, bias], "native", dtype)
    summed = [(x + residual).double(), torch.zeros(5, dim).double()]  # the sum is rounded before it is normalised
    wide = summed if norm.has_residual else [x.double(), residual.double()]
    exact, exact_slopes = gradients(norm, [*wide, weight.double(), bias.double()], "reference", dtype)
    for one, other in [*zip(found, exact, strict=True), *zip(slopes, exact_slopes, strict=True)]:
        if one.ndim == 2:
            assert one.dtype == dtype
        assert_near(one, other, HALF[dtype] * 1.01 if one.ndim == 2 else 2e-5, "half")


@pytest.mark.parametrize("cast", ["torch", "llama", "gemma"])
@pytest.mark.parametrize("dtype", HALF)
def test_the_three_roundings_of_rms_norm(isa: str, dtype: torch.dtype, cast: str) -> None:
    x, _, weight, _ = arguments(64, 37)
    offset = 1.0 if cast == "gemma" else 0.0
    call = (x.to(dtype), weight.shape, weight, 1e-6)
    found, expected = (F.rms_norm(*call, offset=offset, cast=cast, kernel=kernel) for kernel in ("native", "reference"))
    # All but the few entries that lie so near the middle of two numbers that the last digit of float32 decides.
    assert (found == expected).float().mean() > 0.995
    assert_near(found, expected.double(), 4 * HALF[dtype], cast)
    if cast == "llama":
        other = F.rms_norm(*call, cast="torch", kernel="native")
        assert (found != other).float().mean() > 0.05, "rounding first makes no difference"


@pytest.mark.parametrize("dim", [1, 3, 40, 513, 4097])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_row_that_is_not_finite_is_as_torch_has_it(isa: str, dim: int, value: float) -> None:
    x, _, weight, bias = arguments(6, dim)
    x[2, dim // 2] = value
    found = F.layer_norm(x, (dim,), weight, bias, kernel="native")
    expected = torch.nn.functional.layer_norm(x, (dim,), weight, bias)
    assert torch.equal(found.isnan(), expected.isnan())
    assert found[[0, 1, 3, 4, 5]].isfinite().all()
    rms = F.rms_norm(x, (dim,), weight, 1e-6, kernel="native")
    assert torch.equal(rms.isnan(), torch.nn.functional.rms_norm(x, (dim,), weight, 1e-6).isnan())


@pytest.mark.parametrize("dim", [33, 512, 4097, 20_000])
def test_rows_far_from_zero(isa: str, dim: int) -> None:
    x = (1e4 + 1e-2 * normal(4, dim).double()).float()
    found = F.layer_norm(x, (dim,), kernel="native")
    assert_near(found, F.layer_norm(x.double(), (dim,), kernel="reference"), 2e-6, "mean 1e4, deviation 1e-2")


@pytest.mark.parametrize("dim", [2, 33, 600])
def test_constant_rows_are_zero_and_have_finite_gradients(isa: str, dim: int) -> None:
    x = torch.full((5, dim), 3.1, requires_grad=True)
    y = F.layer_norm(x, (dim,), kernel="native")
    assert (y == 0).all()
    (slope,) = torch.autograd.grad(y, x, normal(5, dim))
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", NORMS)
def test_unaligned_starts_and_distant_rows(isa: str, streamed: None, name: str) -> None:
    norm, (x, residual, weight, bias) = NORMS[name], arguments(9, 67)
    expected = results(norm.call(x, residual, weight, bias, kernel="native"))
    for shift in (1, 3, 5):
        holder = torch.full((9 * 67 + shift,), NAN)
        unaligned = holder[shift:].view(9, 67).copy_(x)
        spaced = torch.full((9, 67 + shift), NAN)[:, :67].copy_(x)
        crossed = x.t().contiguous().t()
        for own in (unaligned, spaced, crossed):
            found = results(norm.call(own, residual, weight, bias, kernel="native"))
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("name", NORMS)
def test_in_place_and_into_memory_that_is_not_dense(isa: str, streamed: None, name: str) -> None:
    norm, (x, residual, weight, bias) = NORMS[name], arguments(9, 67)
    expected = results(norm.call(x, residual, weight, bias, kernel="native"))
    for out in (torch.full((9, 67), NAN), torch.full((9, 80), NAN)[:, 3:70], torch.full((67, 9), NAN).t()):
        found = results(norm.call(x, residual, weight, bias, kernel="native", out=out))
        assert found[0] is out
        assert all(map(torch.equal, found, expected))
    own = x.clone()
    norm.call(own, residual, weight, bias, kernel="native", out=own)
    assert torch.equal(own, expected[0])
    if norm.has_residual:
        onto = residual.clone()
        norm.call(x, onto, weight, bias, kernel="native", out=onto)
        assert torch.equal(onto, expected[0])


def test_several_axes_are_one_row(isa: str) -> None:
    x, weight, bias = normal(2, 5, 3, 7), normal(3, 7, seed=1), normal(3, 7, seed=2)
    found = F.layer_norm(x, (3, 7), weight, bias, kernel="native")
    assert_near(found, F.layer_norm(x.double(), (3, 7), weight.double(), bias.double(), kernel="reference"), 2e-6, "y")


@pytest.mark.parametrize("used", ["y", "s"])
@pytest.mark.parametrize("name", ["layer of a sum", "rms of a sum"])
def test_one_result_of_a_sum_alone_has_its_gradient(isa: str, name: str, used: str) -> None:
    slopes = {}
    for kernel in ("native", "reference"):
        own = [each.requires_grad_() for each in arguments(5, 33)]
        y, s = NORMS[name].call(*own, kernel=kernel)
        slopes[kernel] = torch.autograd.grad(y if used == "y" else s, own[:2], normal(5, 33, seed=9))
    for one, other in zip(slopes["native"], slopes["reference"], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


def test_second_derivatives_come_from_the_formula(isa: str) -> None:
    x, weight, bias = (each.requires_grad_() for each in (normal(3, 9), normal(9, seed=1), normal(9, seed=2)))
    found = []
    for kernel in ("native", "reference"):
        y = F.layer_norm(x, (9,), weight, bias, kernel=kernel)
        (slope,) = torch.autograd.grad(y, x, normal(3, 9, seed=3), create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), (x, weight)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_an_empty_batch_has_an_empty_result() -> None:
    x, weight = torch.empty(0, 5, requires_grad=True), torch.ones(5, requires_grad=True)
    y = F.layer_norm(x, (5,), weight)
    y.sum().backward()
    assert y.shape == (0, 5)
    assert weight.grad is not None
    assert (weight.grad == 0).all()
