"""EvoNorm-S0: groups kept whole and groups walked in tiles, forward and backward, against the reference."""

import pytest
import torch

from normkit import functional as F
from normkit.kernels.triton import availability, evonorm_s0
from tests.kernels.triton.comparison import DTYPES, agree, close, normal

pytestmark = pytest.mark.skipif(bool(availability.WHY_NOT), reason=availability.WHY_NOT)


def layer(groups):
    return lambda x, *parameters, **options: F.evonorm_s0(x, *parameters, groups, 1e-5, **options)


def tensors(shape, dtype, device, shift=1.0):
    x = normal(*shape, dtype=dtype, device=device, shift=shift)
    return [x, *(normal(shape[1], dtype=dtype, device=device) for _ in range(3))]


@pytest.mark.parametrize("walked", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 6, 5), 3), ((1, 8, 7, 7), 2), ((2, 6, 4, 4), 1), ((2, 4, 3, 3, 3), 4), ((1, 1, 1), 1)]
)
def test_shapes(shape, groups, dtype, walked, device, monkeypatch):
    if walked:
        monkeypatch.setattr(evonorm_s0, "WHOLE", 0)
        monkeypatch.setattr(evonorm_s0, "ELEMENTS", 16)
    agree(layer(groups), tensors(shape, dtype, device), dtype)


@pytest.mark.parametrize("walked", [False, True])
def test_large_mean_costs_no_digits(walked, device, monkeypatch):
    if walked:
        monkeypatch.setattr(evonorm_s0, "WHOLE", 0)
        monkeypatch.setattr(evonorm_s0, "ELEMENTS", 64)
    x, *parameters = tensors((1, 4, 9, 9), torch.float32, device, shift=1e3)
    ours = layer(1)(x, *parameters, kernel="triton")
    close(ours, layer(1)(x.double(), *(each.double() for each in parameters), kernel="reference"), 1e-5)


def test_half_input_with_float32_parameters(device):
    x, *parameters = tensors((2, 4, 5), torch.float32, device)
    y = layer(2)(x.half(), *parameters, kernel="triton")
    assert y.dtype == torch.float16
    close(y, layer(2)(x.half().double(), *(each.double() for each in parameters), kernel="reference"), 1e-3)


def test_out_and_second_derivative(device):
    values = tensors((2, 4, 3), torch.float32, device)
    wanted = layer(2)(*values, kernel="reference")
    out = torch.full_like(wanted, torch.nan)
    assert layer(2)(*values, kernel="triton", out=out) is out
    close(out, wanted, 1e-6)
    leaves = [each.requires_grad_() for each in values]
    found = []
    for kernel in ("triton", "reference"):
        first = torch.autograd.grad(layer(2)(*leaves, kernel=kernel).square().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), leaves))
    for one, other in zip(*found, strict=True):
        close(one, other, 1e-4)


def test_what_is_refused_and_why(device):
    x, *parameters = tensors((2, 4, 3, 3), torch.float32, device)
    assert "channels" in evonorm_s0.supports("evonorm_s0", x.to(memory_format=torch.channels_last), *parameters)
    assert "without v" in evonorm_s0.supports("evonorm_s0", x, *parameters[:2], None)
