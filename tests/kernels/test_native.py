"""The native softmax family against float64, under every instruction set that this machine has."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from normkit.kernels import native

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)

if native.AVAILABLE:
    from normkit import _native

    ISAS = [isa["name"] for isa in _native.available() if isa["supported"]]
else:
    ISAS = []

GOLDEN = Path(__file__).parents[1] / "golden" / "two-pass-softmax.npz"
SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 127, 129, 511, 512, 513, 1025, 4095, 4096, 4097, 70000]
SMALLEST = 2.0**-125  # results below this may be flushed; 1.2e-38 absolute
VARIANTS = [None, "short-row", "reload", "scratch", "two-pass"]
INF, NAN = float("inf"), float("nan")


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


@pytest.fixture
def thresholds() -> Iterator[None]:
    before = _native.thresholds()
    yield
    for name, value in before.items():
        _native.set_threshold(name, value)


def normal(*shape: int, scale: float = 4.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unaligned(x: Tensor) -> Tensor:
    """The same values, starting four bytes after a cache line's boundary or elsewhere inside a line."""
    memory = torch.full((x.numel() + 17,), NAN, dtype=x.dtype)
    view = memory[1 : 1 + x.numel()].view(x.shape)
    return view.copy_(x)


def poisoned(x: Tensor) -> Tensor:
    return torch.full_like(x, NAN)


def ulps(y: Tensor, exact: Tensor | NDArray[np.float64]) -> float:
    """Largest error in units of the last place, over results that are not below the smallest; those are checked too."""
    result, truth = y.double().numpy(), np.asarray(exact)
    counted = truth >= SMALLEST
    assert np.all(np.abs(result[~counted] - truth[~counted]) <= 1.2e-38)
    if not counted.any():
        return 0.0
    unit = np.spacing(truth[counted].astype(np.float32)).astype(np.float64)
    return float(np.max(np.abs(result[counted] - truth[counted]) / unit))


def variants(dim: int) -> list[str | None]:
    refused = {"short-row"} if dim > 512 else set()
    return [variant for variant in VARIANTS if variant not in refused]


# --- golden vectors ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float64]]:
    return dict(np.load(GOLDEN))


@pytest.mark.parametrize("case", range(6))
@pytest.mark.parametrize("transposed", [False, True])
def test_golden(isa: str, golden: dict[str, NDArray[np.float64]], case: int, transposed: bool) -> None:
    def given(key: str) -> Tensor:
        value = torch.from_numpy(golden[f"s{case}_{key}"]).float()
        return value.T.contiguous() if transposed else value

    def exact(key: str) -> NDArray[np.float64]:
        value = golden[f"s{case}_{key}"]
        return value.T if transposed and value.ndim == 2 else value

    x, dy, dim = given("x"), given("dy"), 0 if transposed else 1
    y, log_y, total = native.softmax(x, dim), native.log_softmax(x, dim), native.logsumexp(x, dim)
    assert ulps(y, exact("softmax")) <= 6
    assert ulps(native.softmax(x, dim, accuracy="high"), exact("softmax")) <= 4
    size = np.maximum(1, np.maximum(np.abs(x.numpy()), np.abs(np.expand_dims(exact("lse"), dim))))
    assert np.all(np.abs(log_y.numpy() - exact("logsoftmax")) <= 1e-6 * size)
    assert np.all(np.abs(total.numpy() - exact("lse")) <= 2e-7 * np.maximum(1, np.abs(exact("lse"))))
    assert np.all(np.abs(native.softmax_backward(y, dy, dim).numpy() - exact("softmax_dx")) <= 1e-6)
    sums = np.abs(dy.double().sum(dim, keepdim=True).numpy())
    dx = native.log_softmax_backward(log_y, dy, dim).numpy()
    assert np.all(np.abs(dx - exact("logsoftmax_dx")) <= 1e-6 * np.maximum(1, sums))
    dx = native.logsumexp_backward(x, total, torch.ones_like(total), dim).numpy()
    assert np.all(np.abs(dx - exact("softmax")) <= 1e-6)


@pytest.mark.parametrize("masked_zero", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_edge_rows(isa: str, golden: dict[str, NDArray[np.float64]], masked_zero: bool, transposed: bool) -> None:
    x, exact = torch.from_numpy(golden["edge_x"]), golden["edge_softmax"].copy()
    if masked_zero:
        exact[np.all(np.isneginf(golden["edge_x"]), axis=1)] = 0.0
    # Repeated to other widths, so that every kernel meets these rows: the probabilities are shared out.
    for times in (1, 9, 100):
        wide = x.repeat(1, times)
        y = native.softmax(wide.T.contiguous(), 0, masked_zero=masked_zero).T if transposed else None
        y = native.softmax(wide, 1, masked_zero=masked_zero) if y is None else y
        share = np.tile(exact, times) / times
        assert np.array_equal(np.isnan(y.numpy()), np.isnan(share))
        known = ~np.isnan(share)
        assert ulps(y[torch.from_numpy(known)], share[known]) <= 6


@pytest.mark.parametrize("variant", ["short-row", "reload", "scratch", "two-pass"])
def test_rising_row(isa: str, golden: dict[str, NDArray[np.float64]], variant: str) -> None:
    x, exact = torch.from_numpy(golden["ramp_x"]), golden["ramp_softmax"]
    if variant == "short-row":  # takes at most 512: the end of the row, which holds all that counts
        x = x[-512:].contiguous()
        exact = torch.softmax(x.double(), -1).numpy()
    assert ulps(native.softmax(x, -1, variant=variant), exact) <= 6


def test_long_row(isa: str, golden: dict[str, NDArray[np.float64]]) -> None:
    x = torch.from_numpy(golden["long_x"])
    y = native.softmax(x, -1)
    assert ulps(y[:64], golden["long_softmax_head"]) <= 6
    assert ulps(y.max(), golden["long_softmax_max"]) <= 6
    exact = float(golden["long_lse"])
    assert abs(native.logsumexp(x, -1).item() - exact) <= 2e-7 * max(1, abs(exact))


# --- every size, start and variant ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", SIZES)
def test_softmax_of_every_size(isa: str, dim: int) -> None:
    x = unaligned(normal(3 if dim < 5000 else 1, dim))
    exact = torch.softmax(x.double(), -1)
    for variant in variants(dim):
        out = unaligned(poisoned(x))
        assert native.softmax(x, -1, variant=variant, out=out) is out
        assert ulps(out, exact) <= 6
        if variant != "reload":
            inplace = x.clone()
            assert ulps(native.softmax(inplace, -1, variant=variant, out=inplace), exact) <= 6
    assert ulps(native.softmax(x, -1, accuracy="high"), exact) <= 4


@pytest.mark.parametrize("dim", SIZES)
def test_the_rest_of_the_family_of_every_size(isa: str, dim: int) -> None:
    x = unaligned(normal(3 if dim < 5000 else 1, dim))
    dy = unaligned(normal(*x.shape, scale=1.0, seed=1))
    wide, grad = x.double().requires_grad_(), dy.double()
    exact = torch.log_softmax(wide, -1)
    total = torch.logsumexp(x.double(), -1)
    size = torch.maximum(x.double().abs(), total.abs().unsqueeze(-1)).clamp_min(1)

    log_y = native.log_softmax(x, -1, out=poisoned(x))
    assert ((log_y - exact).abs() <= 1e-6 * size).all()
    assert ((native.logsumexp(x, -1) - total).abs() <= 2e-7 * total.abs().clamp_min(1)).all()
    (dx,) = torch.autograd.grad(exact, wide, grad)
    bound = 1e-6 * grad.sum(-1, keepdim=True).abs().clamp_min(1)
    assert ((native.log_softmax_backward(log_y, dy, -1, out=poisoned(x)) - dx).abs() <= bound).all()
    (dx,) = torch.autograd.grad(torch.softmax(wide, -1), wide, grad)
    assert ((native.softmax_backward(native.softmax(x, -1), dy, -1, out=poisoned(x)) - dx).abs() <= 1e-6).all()
    factors = dy[:, 0].contiguous()
    dx = native.logsumexp_backward(x, total.float(), factors, -1, out=poisoned(x))
    assert ((dx - factors.double().unsqueeze(-1) * torch.softmax(x.double(), -1)).abs() <= 1e-6).all()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_empty(isa: str, shape: tuple[int, ...], dim: int) -> None:
    x = torch.zeros(shape)
    assert native.softmax(x, dim).shape == shape
    assert native.log_softmax(x, dim).shape == shape
    assert torch.equal(native.logsumexp(x, dim), torch.logsumexp(x, dim))
    assert native.softmax_backward(x, x, dim).shape == shape


@pytest.mark.parametrize("inner", [1, 2, 3, 8, 15, 16, 17, 64, 65, 130])
@pytest.mark.parametrize("length", [1, 2, 33, 300])
def test_columns(isa: str, length: int, inner: int) -> None:
    x, dy = normal(2, length, inner), normal(2, length, inner, scale=1.0, seed=1)
    wide, grad = x.double().requires_grad_(), dy.double()
    y, exact = native.softmax(x, 1), torch.softmax(wide, 1)
    assert ulps(y, exact.detach()) <= 6
    assert ulps(native.softmax(x.clone(), 1, accuracy="high", out=poisoned(x)), exact.detach()) <= 4
    torch.testing.assert_close(native.log_softmax(x, 1).double(), torch.log_softmax(wide, 1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(native.logsumexp(x, 1).double(), torch.logsumexp(wide, 1), rtol=2e-7, atol=2e-7)
    (dx,) = torch.autograd.grad(exact, wide, grad)
    assert ((native.softmax_backward(y, dy, 1) - dx).abs() <= 1e-6).all()
    factors = dy[:, 0].contiguous()
    dx = native.logsumexp_backward(x, factors, factors, 1)
    assert ((dx - factors.double().unsqueeze(1) * torch.softmax(x.double(), 1)).abs() <= 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dim", [1, 7, 16, 33, 100, 513, 4097, 70000])
def test_half_types_are_rounded_once(isa: str, dtype: torch.dtype, dim: int) -> None:
    x = normal(2, dim).to(dtype)
    for axis, view in ((1, x), (0, x.T.contiguous())):
        wide = view.double()
        unit = torch.finfo(dtype).eps
        tiny = torch.finfo(dtype).smallest_normal * unit  # the grid of the subnormal numbers
        bound = 0.501 * unit
        exact = torch.softmax(wide, axis)
        assert ((native.softmax(view, axis) - exact).abs() <= bound * exact + 0.501 * tiny).all()
        exact = torch.log_softmax(wide, axis)
        assert ((native.log_softmax(view, axis) - exact).abs() <= bound * exact.abs() + 1e-6).all()
        exact = torch.logsumexp(wide, axis)
        assert ((native.logsumexp(view, axis) - exact).abs() <= bound * exact.abs() + 1e-6).all()


# --- accuracy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "scale"), [(16, 1.0), (48, 4.0), (200, 4.0), (500, 4.0), (1000, 4.0), (4096, 30.0)])
def test_units_in_the_last_place(isa: str, dim: int, scale: float) -> None:
    x = normal(400_000 // dim, dim, scale=scale, seed=dim)
    exact = torch.softmax(x.double(), -1)
    assert ulps(native.softmax(x, -1), exact) <= 6
    assert ulps(native.softmax(x, -1, accuracy="high"), exact) <= 4


@pytest.mark.parametrize("variant", ["reload", "two-pass"])
def test_a_million_entries(isa: str, variant: str) -> None:
    x = normal(1, 1 << 20)
    exact = torch.softmax(x.double(), -1)
    assert ulps(native.softmax(x, -1, variant=variant), exact) <= 6
    assert ulps(native.softmax(x, -1, variant=variant, accuracy="high"), exact) <= 4


@pytest.mark.parametrize("dim", [40, 512, 5000])
@pytest.mark.parametrize("offset", [-9.9e4, 9.9e4, -1.1e5, 1.1e5, -1e9, 3e30])
def test_far_from_zero(isa: str, dim: int, offset: float) -> None:
    x = normal(2, dim) + offset
    exact = torch.softmax(x.double(), -1)
    for variant in variants(dim):
        assert ulps(native.softmax(x, -1, variant=variant), exact) <= 6
    assert ulps(native.softmax(x.T.contiguous(), 0).T, exact) <= 6
    total = torch.logsumexp(x.double(), -1)
    assert ((native.logsumexp(x, -1) - total).abs() <= 1e-7 * total.abs()).all()


# --- rows that hold NaN or infinities ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [5, 40, 300, 513, 3000, 70000])
@pytest.mark.parametrize("value", [NAN, INF])
def test_nan_and_inf_make_the_row_nan(isa: str, dim: int, value: float) -> None:
    for place in {0, dim // 2, dim - 1}:
        x = normal(2, dim)
        x[1, place] = value
        for variant in variants(dim):
            y = native.softmax(x, -1, variant=variant)
            assert y[0].isfinite().all()
            assert y[1].isnan().all()
        assert native.log_softmax(x, -1)[1].isnan().all()
        assert native.softmax(x.T.contiguous(), 0)[:, 1].isnan().all()
        torch.testing.assert_close(native.logsumexp(x, -1)[1], torch.tensor(value), equal_nan=True)
        torch.testing.assert_close(native.logsumexp(x.T.contiguous(), 0)[1], torch.tensor(value), equal_nan=True)


@pytest.mark.parametrize("dim", [5, 40, 300, 513, 3000, 70000])
def test_masks(isa: str, dim: int) -> None:
    x = normal(4, dim)
    x[0] = -INF
    x[1, : dim // 2] = -INF  # left padding
    x[2, dim // 2 + 1 :] = torch.finfo(torch.float32).min  # right padding, as many write it
    exact = torch.softmax(x.double(), -1)
    for variant in variants(dim):
        y = native.softmax(x, -1, variant=variant, masked_zero=True)
        assert (y[0] == 0).all()
        assert ulps(y[1:], exact[1:]) <= 6
        assert (y[1, : dim // 2] == 0).all()
        assert native.softmax(x, -1, variant=variant)[0].isnan().all()
    columns = native.softmax(x.T.contiguous(), 0, masked_zero=True).T
    assert (columns[0] == 0).all()
    assert ulps(columns[1:], exact[1:]) <= 6

    log_y = native.log_softmax(x, -1, masked_zero=True)
    assert (log_y[0] == -INF).all()
    assert native.log_softmax(x, -1)[0].isnan().all()
    assert native.logsumexp(x, -1)[0] == -INF
    dx = native.log_softmax_backward(log_y, torch.ones_like(x), -1, masked_zero=True)
    assert (dx[0] == 0).all()
    assert dx.isfinite().all()
    across = native.log_softmax_backward(log_y.T.contiguous(), torch.ones(dim, 4), 0, masked_zero=True)
    torch.testing.assert_close(across.T, dx, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("step", [0.1, 1.0, 20.0, 200.0])
def test_the_reference_moves(isa: str, step: float) -> None:
    """Ascending rows, the worst order; a NaN among them must not upset the list of segments."""
    x = torch.arange(30_000, dtype=torch.float32) * step / 16 - 5e4
    exact = torch.softmax(x.double(), -1)
    for variant in ("reload", "scratch", "two-pass"):
        assert ulps(native.softmax(x, -1, variant=variant), exact) <= 6
        assert ulps(native.softmax(x.flip(0), -1, variant=variant).flip(0), exact) <= 6
    x[::7] = NAN
    assert native.softmax(x, -1, variant="reload").isnan().all()


# --- layouts ----------------------------------------------------------------------------------------------------------


def layouts() -> Iterator[tuple[str, Tensor, int]]:
    yield "transposed", normal(30, 20).T, -1
    yield "transposed, other axis", normal(30, 20).T, 0
    yield "channels last", normal(2, 5, 6, 7).to(memory_format=torch.channels_last), 1
    yield "permuted", normal(3, 4, 5).permute(2, 0, 1), 1
    yield "gaps between rows", normal(9, 40)[:, 3:30], -1
    yield "every other column", normal(9, 40)[:, ::2], -1
    yield "every other row", normal(9, 40)[::2], -1
    yield "expanded", normal(1, 40).expand(5, 40), -1
    yield "expanded along the axis", normal(5, 1).expand(5, 40), -1
    yield "four axes, a gap", normal(2, 3, 4, 40)[..., :33], -1
    yield "reversed order with ones", normal(1, 30, 1, 20).permute(3, 2, 1, 0), 0


@pytest.mark.parametrize(("name", "x", "dim"), list(layouts()), ids=[name for name, _, _ in layouts()])
def test_layouts(name: str, x: Tensor, dim: int) -> None:
    before = x.clone()
    dy = normal(*x.shape, scale=1.0, seed=1)
    exact = torch.softmax(x.double(), dim)
    y = native.softmax(x, dim)
    assert ulps(y, exact) <= 6
    assert ulps(native.softmax(x, dim, out=poisoned(before.contiguous())), exact) <= 6
    total = torch.logsumexp(x.double(), dim)
    torch.testing.assert_close(native.logsumexp(x, dim).double(), total, rtol=2e-7, atol=2e-7)
    torch.testing.assert_close(native.log_softmax(x, dim).double(), exact.log(), rtol=1e-6, atol=1e-6)
    for grad in (dy, dy.transpose(0, -1).contiguous().transpose(0, -1), dy[..., :1].expand(x.shape)):
        dx = exact * (grad.double() - (exact * grad.double()).sum(dim, keepdim=True))
        torch.testing.assert_close(native.softmax_backward(y, grad, dim).double(), dx, rtol=0, atol=1e-6)
    factors = dy.select(dim, 0)
    dx = native.logsumexp_backward(x, total.float(), factors, dim)
    torch.testing.assert_close(dx.double(), factors.double().unsqueeze(dim) * exact, rtol=0, atol=1e-6)
    assert torch.equal(x, before)


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(700, 100), (64, 1000), (5, 70_000), (1, 300_000), (40, 50, 30)])
def test_threads_agree(isa: str, threads: None, shape: tuple[int, ...]) -> None:
    x, dy, dim = normal(*shape), normal(*shape, scale=1.0, seed=1), 1
    exact = torch.softmax(x.double(), dim)
    torch.set_num_threads(1)
    alone = native.softmax(x, dim)
    same = native.softmax(x, dim, deterministic=True)
    for count in (2, 3, 8):
        torch.set_num_threads(count)
        together = native.softmax(x, dim, out=poisoned(x))
        assert ulps(together, exact) <= 6
        if shape[0] >= count:
            assert torch.equal(together, alone)
        assert torch.equal(native.softmax(x, dim, deterministic=True), same)
        log_y = native.log_softmax(x, dim)
        torch.testing.assert_close(log_y.double(), exact.log(), rtol=1e-6, atol=1e-6)
        dx = native.softmax_backward(alone, dy, dim)
        wide = exact * (dy.double() - (exact * dy.double()).sum(dim, keepdim=True))
        torch.testing.assert_close(dx.double(), wide, rtol=0, atol=1e-6)


def test_streamed_stores(isa: str, thresholds: None) -> None:
    """Non-temporal stores, which only large outputs get, asked for at every size by assuming a small cache."""
    _native.set_threshold("cache_bytes", 16)
    for dim in (16, 40, 64, 100, 512, 513, 1000, 4097, 70_000):
        for dtype in (torch.float32, torch.bfloat16):
            x = unaligned(normal(5, dim).to(dtype))
            x[3] = -INF
            y = native.softmax(x, -1, masked_zero=True, out=unaligned(poisoned(x)))
            exact = torch.softmax(x.double(), -1)
            exact[3] = 0
            bound = 5e-7 if dtype == torch.float32 else 0.0040
            assert ((y - exact).abs() <= bound * exact + 1.2e-38).all()
            dx = native.softmax_backward(y, y, -1, out=unaligned(poisoned(x)))
            wide = y.double() * (y.double() - (y.double() ** 2).sum(-1, keepdim=True))
            assert ((dx - wide).abs() <= 1e-6 + bound * wide.abs()).all()


def test_a_child_process_after_a_fork_does_not_hang() -> None:
    program = """
import os, torch
from normkit.kernels import native
torch.set_num_threads(2)
x = torch.randn(64, 4096)
native.softmax(x, -1)
child = os.fork()
if child == 0:
    y = native.softmax(x, -1).numpy()  # torch's own parallel operations would hang here
    os._exit(0 if abs(y.sum() - 64) < 1e-3 else 1)
_, status = os.waitpid(child, 0)
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- the module -------------------------------------------------------------------------------------------------------


def test_environment_variable_forces_an_instruction_set() -> None:
    program = "from normkit import _native; print(_native.isa())"
    for isa in ISAS:
        environment = {**os.environ, "NORMKIT_ISA": isa}
        result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert result.stdout.strip() == isa
    environment = {**os.environ, "NORMKIT_ISA": "mmx"}
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert result.returncode != 0
    assert "NORMKIT_ISA=mmx: this build has no such instruction set; this machine can run: " in result.stderr


def test_one_openmp_runtime() -> None:
    """In a process of its own: scikit-learn's wheels bring a second one to whoever imports them."""
    program = "from normkit.kernels import native; print(len(native.openmp_runtimes()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 1


def test_supports_says_why_not() -> None:
    assert native.supports("softmax", torch.zeros(3), 0) is None
    assert native.supports("softmax", torch.zeros(3, dtype=torch.bfloat16), 0) is None
    for op, x, words in [
        ("layer_norm", torch.zeros(3), "no native kernel for layer_norm"),
        ("softmax", torch.zeros(3, dtype=torch.float64), "not torch.float64"),
        ("softmax", torch.zeros(3, device="meta"), "on meta"),
        ("softmax", torch.zeros(()), "scalar"),
    ]:
        reason = native.supports(op, x, 0)
        assert reason is not None
        assert words in reason


def test_bad_calls_are_refused() -> None:
    x = torch.zeros(2, 600)
    with pytest.raises(ValueError, match="no softmax variant 'four-pass'"):
        native.softmax(x, -1, variant="four-pass")
    with pytest.raises(ValueError, match="at most 512"):
        native.softmax(x, -1, variant="short-row")
    with pytest.raises(ValueError, match="in place"):
        native.softmax(x, -1, variant="reload", out=x)
    with pytest.raises(ValueError, match="float32 rows only"):
        native.softmax(x.bfloat16(), -1, variant="two-pass-paper")
    with pytest.raises(ValueError, match="this machine can run"):
        _native.use_isa("mmx")
    with pytest.raises(ValueError, match="multiple of 16"):
        _native.set_threshold("piece", 0)


@pytest.mark.parametrize("variant", ["two-pass-paper", "three-pass-reload", "three-pass-recompute"])
def test_published_algorithms(isa: str, variant: str) -> None:
    """As published: right to float32 sums on finite rows; the pairs give NaN where a row holds −inf."""
    for dim in (1, 5, 64, 77, 1000, 5000):
        x = normal(3, dim, scale=20.0)
        y = native.softmax(x, -1, variant=variant)
        exact = torch.softmax(x.double(), -1)
        assert ((y - exact).abs() <= 2e-5 * exact + 1e-37).all()
    x = torch.tensor([[0.0, -INF, 1.0]])
    assert native.softmax(x, -1, variant=variant).isnan().any() == (variant == "two-pass-paper")
