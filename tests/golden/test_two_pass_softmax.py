"""The softmax family and the norms against float64 evaluations of the equations.

The reference is held to them in float64, what a user gets by default in float32. The bound in units in the last place
is the native kernel's: torch's own float32 softmax does not meet it on every row.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from normkit import kernels
from normkit.functional.cross_entropy import cross_entropy
from normkit.functional.layer_norm import layer_norm
from normkit.functional.log_softmax import log_softmax
from normkit.functional.logsumexp import logsumexp
from normkit.functional.rms_norm import rms_norm
from normkit.functional.softmax import softmax
from normkit.functional.softmax_pair import merge_pairs, softmax_pair
from tests.golden.conftest import Golden

SOFTMAX_ULP = 6
SMALLEST = 2.0**-125
LAYER_EPS, RMS_EPS = 1e-5, 1e-6


def native_missing() -> str:
    return next(row["reason"] for row in kernels.available() if (row["kernel"], row["op"]) == ("native", "softmax"))


@pytest.fixture(params=["reference", "default"])
def way(request: pytest.FixtureRequest) -> tuple[str | None, torch.dtype]:
    """(kernel, dtype): the reference in float64, and the default call in float32 where the native kernel serves it."""
    if request.param == "reference":
        return "reference", torch.float64
    if reason := native_missing():
        pytest.skip(f"no native kernel, torch's float32 softmax is not held to this bound: {reason}")
    return None, torch.float32


def ulp(y: Tensor, exact: np.ndarray) -> float:
    """Largest distance in units in the last place of a float32, among elements that are not next to underflow."""
    large = np.abs(exact) >= SMALLEST
    error = np.abs(y.double().numpy() - exact)
    assert (error[~large & np.isfinite(exact)] <= 1.2e-38).all()
    return float((error[large] / np.spacing(np.abs(exact[large]).astype(np.float32))).max(initial=0.0))


def assert_within(y: Tensor, exact: np.ndarray, bound: float | np.ndarray) -> None:
    assert y.shape == exact.shape
    error = np.abs(y.detach().double().numpy() - exact)
    assert (error <= bound).all(), f"error {error.max():.3g}, {(error / bound).max():.3g} times the bound"


def gradient(y: Tensor, x: Tensor, dy: Tensor) -> Tensor:
    return torch.autograd.grad(y, x, dy)[0]


def test_softmax(golden: Golden, way: tuple[str | None, torch.dtype]) -> None:
    kernel, dtype = way
    for case in golden.cases(r"s(\d+)_x"):
        x, dy = golden.tensor(f"s{case}_x", dtype).requires_grad_(), golden.tensor(f"s{case}_dy", dtype)
        y = softmax(x, kernel=kernel)
        assert ulp(y.detach(), golden[f"s{case}_softmax"]) <= SOFTMAX_ULP
        assert_within(gradient(y, x, dy), golden[f"s{case}_softmax_dx"], 1e-6)


def test_log_softmax(golden: Golden, way: tuple[str | None, torch.dtype]) -> None:
    kernel, dtype = way
    for case in golden.cases(r"s(\d+)_x"):
        x, dy = golden.tensor(f"s{case}_x", dtype).requires_grad_(), golden.tensor(f"s{case}_dy", dtype)
        y = log_softmax(x, kernel=kernel)
        size = np.maximum(np.abs(golden[f"s{case}_x"]), np.abs(golden[f"s{case}_lse"])[:, None]).astype(np.float64)
        assert_within(y, golden[f"s{case}_logsoftmax"], 1e-6 * np.maximum(1, size))
        total = np.abs(golden[f"s{case}_dy"].astype(np.float64).sum(-1, keepdims=True))
        assert_within(gradient(y, x, dy), golden[f"s{case}_logsoftmax_dx"], 1e-6 * np.maximum(1, total))


def test_logsumexp(golden: Golden, way: tuple[str | None, torch.dtype]) -> None:
    kernel, dtype = way
    for case in golden.cases(r"s(\d+)_x"):
        total = golden[f"s{case}_lse"]
        bound = 2e-7 * np.maximum(1, np.abs(total))
        assert_within(logsumexp(golden.tensor(f"s{case}_x", dtype), kernel=kernel), total, bound)


def test_cross_entropy(golden: Golden, way: tuple[str | None, torch.dtype]) -> None:
    kernel, dtype = way
    for case in golden.cases(r"s(\d+)_x"):
        x, target = golden.tensor(f"s{case}_x", dtype).requires_grad_(), golden.tensor(f"s{case}_target")
        exact = golden[f"s{case}_ce_loss"]
        losses = cross_entropy(x, target, reduction="none", kernel=kernel)
        size = np.maximum(np.abs(golden[f"s{case}_x"]).max(-1), np.abs(golden[f"s{case}_lse"])).astype(np.float64)
        assert_within(losses, exact, 1e-6 * np.maximum(1, size))
        loss = cross_entropy(x, target, kernel=kernel)
        assert_within(loss, exact.mean(), 1e-6 * max(1.0, size.max()))
        assert_within(torch.autograd.grad(loss, x)[0], golden[f"s{case}_ce_dx"], 1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("pieces", [1, 7])
def test_pair(golden: Golden, dtype: torch.dtype, pieces: int) -> None:
    """The exact pair, and the official kernel's, brought to the same exponent; of the row or merged from its pieces."""
    exact, exponent = float(golden["long_ext_mantissa"]), float(golden["long_ext_exponent"])
    official = golden["long_xnn_ext"].astype(np.float64)
    x = golden.tensor("long_x", dtype)
    pair = softmax_pair(x[:0])
    for piece in x.chunk(pieces):
        pair = merge_pairs(pair, softmax_pair(piece))
    for mantissa, own in ((pair[0].double().item(), pair[1].item()), official):
        assert mantissa * 2.0 ** (own - exponent) == pytest.approx(exact, rel=1e-6)


def test_long_row(golden: Golden, way: tuple[str | None, torch.dtype]) -> None:
    kernel, dtype = way
    x, total = golden.tensor("long_x", dtype), golden["long_lse"]
    assert_within(logsumexp(x, kernel=kernel), total, 2e-7 * max(1.0, abs(float(total))))
    y, head = softmax(x, kernel=kernel), golden["long_softmax_head"]
    assert ulp(y[: len(head)], head) <= SOFTMAX_ULP
    assert ulp(y.max(), golden["long_softmax_max"]) <= SOFTMAX_ULP


@pytest.mark.parametrize("name", ["edge", "ramp"])
def test_difficult_rows(golden: Golden, way: tuple[str | None, torch.dtype], name: str) -> None:
    kernel, dtype = way
    y, exact = softmax(golden.tensor(f"{name}_x", dtype), kernel=kernel), golden[f"{name}_softmax"]
    assert (y.isnan().numpy() == np.isnan(exact)).all()
    finite = ~np.isnan(exact)
    assert ulp(y[torch.tensor(finite)], exact[finite]) <= SOFTMAX_ULP


def test_papers_own_algorithm(golden: Golden) -> None:
    """The official two-pass kernel's float32 results, and ours by the paper's rule, are equally near to float64."""
    reason = native_missing()
    for case in golden.cases(r"s(\d+)_xnn_twopass"):
        official, exact = golden.tensor(f"s{case}_xnn_twopass"), golden[f"s{case}_softmax"]
        assert ulp(official, exact) <= SOFTMAX_ULP
        if not reason:
            ours = softmax(golden.tensor(f"s{case}_x"), kernel="two-pass-paper")
            assert ulp(ours, exact) <= SOFTMAX_ULP
            assert ulp(ours, official.double().numpy()) <= SOFTMAX_ULP


NORMS = pytest.mark.parametrize(("kernel", "dtype"), [("reference", torch.float64), (None, torch.float32)])


@NORMS
@pytest.mark.parametrize("add", ["", "add_"])
def test_layer_norm(golden: Golden, kernel: str | None, dtype: torch.dtype, add: str) -> None:
    for case in golden.cases(r"n(\d+)_x"):
        n, ln = f"n{case}_", f"n{case}_ln_{add}"
        x, w, b = (golden.tensor(n + name, dtype).requires_grad_() for name in "xwb")
        residual = _residual(golden, n, dtype) if add else None
        y, total = layer_norm(x, w.shape, w, b, LAYER_EPS, residual=residual, prenorm=True, kernel=kernel)
        assert_within(y, golden[ln + "y"], 2e-6)
        normal = layer_norm(total, w.shape, None, None, LAYER_EPS, kernel=kernel).detach().double()
        rstd, mean = golden[ln + "rstd"][:, None], golden[ln + "mean"][:, None]
        assert_within(normal, (total.detach().double().numpy() - mean) * rstd, 2e-6)
        dx, dw, db = _gradients(golden, n, add, (y, total), (x, w, b), dtype)
        assert_within(dx, golden[ln + "dx"], 2e-6)
        bound = 5e-6 * len(golden[n + "x"]) ** 0.5
        assert_within(dw, golden[ln + "dw"], bound)
        assert_within(db, golden[ln + "db"], bound)


@NORMS
@pytest.mark.parametrize("add", ["", "add_"])
def test_rms_norm(golden: Golden, kernel: str | None, dtype: torch.dtype, add: str) -> None:
    for case in golden.cases(r"n(\d+)_x"):
        n, rms = f"n{case}_", f"n{case}_rms_{add}"
        x, w = (golden.tensor(n + name, dtype).requires_grad_() for name in "xw")
        residual = _residual(golden, n, dtype) if add else None
        y, total = rms_norm(x, w.shape, w, RMS_EPS, residual=residual, prenorm=True, kernel=kernel)
        assert_within(y, golden[rms + "y"], 2e-6)
        normal = rms_norm(total, w.shape, None, RMS_EPS, kernel=kernel).detach().double()
        assert_within(normal, total.detach().double().numpy() * golden[rms + "rstd"][:, None], 2e-6)
        dx, dw = _gradients(golden, n, add, (y, total), (x, w), dtype)
        assert_within(dx, golden[rms + "dx"], 2e-6)
        assert_within(dw, golden[rms + "dw"], 5e-6 * len(golden[n + "x"]) ** 0.5)


def _residual(golden: Golden, n: str, dtype: torch.dtype) -> Tensor:
    """What has to be added to x in `dtype` to give the file's sum, which is rounded to float32."""
    if dtype == torch.float32:
        return golden.tensor(n + "res")
    x, total = golden.tensor(n + "x"), golden.tensor(n + "x") + golden.tensor(n + "res")
    return total.to(dtype) - x.to(dtype)


def _gradients(
    golden: Golden, n: str, add: str, outputs: tuple[Tensor, Tensor], inputs: tuple[Tensor, ...], dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Gradients that arrive through y and, in the `add_` keys, through the un-normalised sum too."""
    arriving = [golden.tensor(n + "dy", dtype), golden.tensor(n + "ds", dtype)]
    used = 2 if add else 1
    return torch.autograd.grad(outputs[:used], inputs, arriving[:used])
