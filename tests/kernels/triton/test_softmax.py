"""Softmax, log-softmax and log-sum-exp: tiles, chunks and cut rows against the reference."""

from functools import partial

import pytest
import torch

from normkit import functional as F
from normkit.kernels.triton import availability, launch, softmax
from tests.kernels.triton.comparison import DTYPES, agree, close, normal

pytestmark = pytest.mark.skipif(bool(availability.WHY_NOT), reason=availability.WHY_NOT)
OPERATIONS = [F.softmax, F.log_softmax, F.logsumexp]


def along_rows(operation, **options):
    return partial(operation, dim=-1, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("shape", [(5, 1), (3, 7), (2, 3, 33), (70, 16), (3, 1000), (2, 2048)])
def test_rows_in_one_tile(operation, shape, dtype, device):
    agree(along_rows(operation), [normal(*shape, dtype=dtype, device=device, scale=4)], dtype)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("shape", [(3, 300), (3, 131), (2, 500), (1, 384)], ids=["chunks", "odd", "cut", "one"])
def test_long_rows(operation, shape, dtype, device):
    agree(along_rows(operation), [normal(*shape, dtype=dtype, device=device, scale=4)], dtype)


@pytest.mark.usefixtures("narrow")
def test_few_long_rows_are_cut_and_many_are_not(device):
    block = launch.chunk("softmax", torch.float32, device).BLOCK
    number, columns = launch.pieces(1, 1000, block, device)
    assert number > 1
    assert columns % block == 0
    assert (number - 1) * columns < 1000 <= number * columns
    assert launch.pieces(10**6, 1000, block, device) == (1, 1000)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("width", [16, 1000])
def test_error_in_units_in_the_last_place(width, scale, device):
    """What x − max loses to rounding is put back: small probabilities are as exact as large ones."""
    x = normal(4, width, dtype=torch.float32, device=device, scale=scale)
    y, wanted = F.softmax(x, -1, kernel="triton").double(), torch.softmax(x.double(), -1)
    visible = wanted >= 2.0**-125
    error = ((y - wanted).abs() / torch.ldexp(torch.ones_like(wanted), wanted.frexp().exponent - 24))[visible]
    assert error.max() <= 6


ROWS = {
    "left padded": [-torch.inf] * 60 + [1.0, 2.0, 3.0],
    "right padded": [1.0, 2.0, 3.0] + [-1e4] * 60,
    "all masked": [-torch.inf] * 63,
    "infinite": [1.0] * 62 + [torch.inf],
    "nan": [1.0] * 62 + [torch.nan],
    "nan among masked": [-torch.inf] * 62 + [torch.nan],
    "huge": [3e38, -3e38, 0.0] * 21,
    "equal and large": [1e6] * 63,
    "far apart": [0.0, -90.0, -88.0] * 21,
}


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_special_rows_as_torch(name, long, device, request):
    if long:
        request.getfixturevalue("narrow")
    row = torch.tensor([[-1.0] * 63, ROWS[name]], device=device).repeat(1, 3 if long else 1)
    for operation in OPERATIONS:
        ours = operation(row, -1, kernel="triton")
        wanted = operation(row.double(), -1, kernel="torch")
        close(ours, wanted.float().double(), 1e-6)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("operation", [F.softmax, F.log_softmax], ids=lambda each: each.__name__)
def test_masked_rows_give_zeros_and_zero_gradient(operation, long, device, request):
    if long:
        request.getfixturevalue("narrow")
    x = normal(3, 300 if long else 9, dtype=torch.float32, device=device)
    x[1] = -torch.inf
    agree(along_rows(operation, masked_zero=True), [x], torch.float32)
    x[1, 2] = torch.nan  # not masked: unknown
    assert operation(x, -1, masked_zero=True, kernel="triton")[1].isnan().all()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
def test_rows_of_a_wider_tensor_are_read_in_place(operation, device):
    wide = normal(4, 40, dtype=torch.float32, device=device)
    x = wide[:, 3:28]
    assert softmax.rows(x).tensor.data_ptr() == x.data_ptr()
    close(operation(x, -1, kernel="triton"), operation(x.double(), -1, kernel="reference"), 1e-6)
    expanded = wide[:1, :9].expand(3, 9)
    close(operation(expanded, -1, kernel="triton"), operation(expanded.double(), -1, kernel="reference"), 1e-6)


def test_out_and_in_place(device):
    x = normal(3, 50, dtype=torch.float32, device=device)
    wanted = F.softmax(x, -1, kernel="reference")
    for out in (torch.full_like(x, torch.nan), torch.full((3, 99), torch.nan, device=device)[:, :50]):
        assert F.softmax(x, -1, kernel="triton", out=out) is out
        close(out, wanted, 1e-6)
    assert F.softmax(x, -1, kernel="triton", out=x) is x
    close(x, wanted, 1e-6)


def test_second_derivative(device):
    x = normal(2, 5, dtype=torch.float32, device=device).requires_grad_()
    for operation in OPERATIONS:
        found = []
        for kernel in ("triton", "reference"):
            (first,) = torch.autograd.grad(operation(x, -1, kernel=kernel).square().sum(), x, create_graph=True)
            found.append(torch.autograd.grad(first.square().sum(), x)[0])
        close(*found, 1e-5)


def test_operators_take_any_axis(device):
    """What a compiled graph calls."""
    x = normal(3, 5, 4, dtype=torch.float32, device=device)
    y = softmax.OPERATORS["softmax"](x, 1, "default", False, False, "")
    close(y, torch.softmax(x.double(), 1), 1e-6)
    z = softmax.OPERATORS["log_softmax"](x, 1, "default", False, False)
    close(z, torch.log_softmax(x.double(), 1), 1e-6)
    total = softmax.OPERATORS["logsumexp"](x, 1)
    close(total, torch.logsumexp(x.double(), 1), 1e-6)
    dy = normal(3, 5, 4, dtype=torch.float32, device=device)
    for name, out, function in (("softmax", y, torch.softmax), ("log_softmax", z, torch.log_softmax)):
        leaf = x.double().requires_grad_()
        (wanted,) = torch.autograd.grad(function(leaf, 1), leaf, dy.double())
        rest = (False,) if name == "log_softmax" else ()
        close(softmax.OPERATORS[f"{name}_backward"](out, dy, 1, *rest), wanted, 1e-6)
    leaf = x.double().requires_grad_()
    (wanted,) = torch.autograd.grad(torch.logsumexp(leaf, 1), leaf, dy[:, 0].double())
    close(softmax.OPERATORS["logsumexp_backward"](x, total, dy[:, 0], 1), wanted, 1e-6)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((torch.zeros(2, 3, dtype=torch.float64), -1), "not torch.float64"),
        ((torch.zeros(2, 3), 0), "not the last one"),
        ((torch.zeros(2, 0), 1), "empty"),
        ((torch.zeros(()), 0), "scalar"),
        ((torch.zeros(2, 3), 1, "high"), "one accuracy"),
        ((torch.zeros(2, 3, device="meta"), 1), "not on a CUDA device"),
    ],
)
def test_what_is_refused_and_why(arguments, reason, device):
    input, *rest = arguments
    input = input if input.is_meta else input.to(device)
    assert reason in (softmax.supports("softmax", input, *rest) or "")
