"""LayerNorm, RMSNorm and CRMSNorm: tiles and chunks, forward and backward, against the reference."""

from functools import partial

import pytest
import torch

from normkit import functional as F
from normkit.kernels import reference
from normkit.kernels.triton import availability, norms
from tests.kernels.triton.comparison import DTYPES, TOLERANCE, agree, close, normal

pytestmark = pytest.mark.skipif(bool(availability.WHY_NOT), reason=availability.WHY_NOT)


def layer_norm(x, weight, bias, **options):
    return F.layer_norm(x, weight.shape, weight, bias, 1e-5, **options)


def rms_norm(x, weight, bias, **options):
    return F.rms_norm(x, weight.shape, weight, 1e-5, bias=bias, offset=1.0, **options)


def crms_norm(x, weight, **options):
    return F.crms_norm(x, weight, 1e-5, **options)


NORMS = [(layer_norm, 2), (rms_norm, 2), (crms_norm, 1)]
every_norm = pytest.mark.parametrize(("norm", "parameters"), NORMS, ids=[norm.__name__ for norm, _ in NORMS])


def tensors(shape, parameters, dtype, device):
    x = normal(*shape, dtype=dtype, device=device, shift=1.0)
    return [x, *(normal(shape[-1], dtype=dtype, device=device) for _ in range(parameters))]


@pytest.mark.parametrize("dtype", DTYPES)
@every_norm
@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 33), (20, 100), (3, 1000), (2, 2048)])
def test_rows_in_one_tile(norm, parameters, shape, dtype, device):
    agree(norm, tensors(shape, parameters, dtype, device), dtype)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("dtype", DTYPES[:2])
@every_norm
@pytest.mark.parametrize("shape", [(5, 300), (2, 257)])
def test_long_rows(norm, parameters, shape, dtype, device):
    agree(norm, tensors(shape, parameters, dtype, device), dtype)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("kind", [norms.LAYER, norms.RMS, norms.CRMS])
def test_residual_sum_and_its_gradient(kind, dtype, long, device, request):
    if long:
        request.getfixturevalue("narrow")
    width = 300 if long else 24
    norm = norms.Norm(kind, width, 1e-5)
    x, residual = (normal(5, width, dtype=dtype, device=device) for _ in range(2))
    weight = normal(width, dtype=dtype, device=device)

    def both(x, residual, weight, kernel):
        if kernel == "triton":
            return norms.compute(norm, x, residual, weight, None)
        summed = x + residual
        rounded = summed + (summed.to(dtype).double() - summed).detach()
        return norm.formula(rounded, None, weight, None)

    agree(both, [x, residual, weight], dtype)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16] if availability.INTERPRETED else [torch.bfloat16, torch.float16])
def test_roundings_of_half_precision(dtype, long, device, request):
    """Llama's rounding is the reference's bit by bit; the other two round once."""
    if long:
        request.getfixturevalue("narrow")
    x, weight = normal(4, 300, dtype=dtype, device=device), normal(300, dtype=dtype, device=device)
    found = {}
    for cast in ("torch", "llama", "gemma"):
        found[cast] = F.rms_norm(x, (300,), weight, 1e-5, cast=cast, kernel="triton")
        wanted = reference.norms.rms_norm(x, (300,), weight, 1e-5, cast=cast)
        differing = (found[cast] != wanted).double().mean().item()
        assert differing < 0.01, cast  # a sum in another order may tip a rounding
    assert torch.equal(found["torch"], found["gemma"])
    assert not torch.equal(found["torch"], found["llama"])


@every_norm
def test_half_input_with_float32_parameters(norm, parameters, device):
    x, *rest = tensors((4, 40), parameters, torch.float32, device)
    half = x.to(torch.bfloat16)
    y = norm(half, *rest, kernel="triton")
    assert y.dtype == torch.bfloat16
    close(y, norm(half.double(), *(each.double() for each in rest), kernel="reference"), TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize("long", [False, True])
def test_large_mean_costs_no_digits(long, device, request):
    """Mean 1e4, deviation 1e-2: E[x²] − E[x]² would have nothing left."""
    if long:
        request.getfixturevalue("narrow")
    x = normal(3, 500, dtype=torch.float32, device=device, scale=1e-2, shift=1e4)
    agree(partial(F.layer_norm, normalized_shape=(500,)), [x], torch.float32)


def test_several_trailing_axes_and_no_parameters(device):
    x = normal(3, 4, 5, dtype=torch.float32, device=device)
    weight = normal(4, 5, dtype=torch.float32, device=device)
    agree(lambda x, w, **o: F.layer_norm(x, (4, 5), w, None, **o), [x, weight], torch.float32)
    agree(partial(F.layer_norm, normalized_shape=(4, 5)), [x], torch.float32)
    agree(partial(F.rms_norm, normalized_shape=(5,)), [x], torch.float32)


def test_constant_and_broken_rows(device):
    x = torch.ones(4, 9, device=device)
    x[1, 3], x[2, 3] = torch.nan, torch.inf
    y = F.layer_norm(x, (9,), kernel="triton")
    assert torch.equal(y[[0, 3]], torch.zeros(2, 9, device=device))
    assert y[1:3].isnan().all()


@every_norm
def test_gradient_is_the_same_from_run_to_run(norm, parameters, device):
    leaves = [each.requires_grad_() for each in tensors((17, 64), parameters, torch.float32, device)]
    first, second = (torch.autograd.grad(norm(*leaves, kernel="triton").square().sum(), leaves) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@every_norm
def test_second_derivative(norm, parameters, device):
    leaves = [each.requires_grad_() for each in tensors((2, 5), parameters, torch.float32, device)]
    found = []
    for kernel in ("triton", "reference"):
        first = torch.autograd.grad(norm(*leaves, kernel=kernel).square().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), leaves))
    for one, other in zip(*found, strict=True):
        close(one, other, 1e-4)


@every_norm
def test_gradient_of_one_argument_alone(norm, parameters, device):
    values = tensors((6, 12), parameters, torch.float32, device)
    for index in range(len(values)):
        gradients = []
        for kernel in ("triton", "reference"):
            leaves = [each.clone().requires_grad_(place == index) for place, each in enumerate(values)]
            gradients += torch.autograd.grad(norm(*leaves, kernel=kernel).square().sum(), leaves[index])
        close(*gradients, 1e-5)


def test_out_and_in_place(device):
    x = normal(3, 50, dtype=torch.float32, device=device)
    wanted = F.rms_norm(x, (50,), kernel="reference")
    for out in (torch.full_like(x, torch.nan), torch.full((3, 99), torch.nan, device=device)[:, :50]):
        assert F.rms_norm(x, (50,), kernel="triton", out=out) is out
        close(out, wanted, 1e-6)
    assert F.rms_norm(x, (50,), kernel="triton", out=x) is x
    close(x, wanted, 1e-6)
