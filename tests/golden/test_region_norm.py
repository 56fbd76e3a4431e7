"""Region normalisation against an independent reference, and against the layers that the authors released."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normkit import functional, nn
from normkit.functional.region_norm import REGION_NORM
from tests.golden.conftest import Golden

EPS = 1e-5
PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
PARAMETERS = ("foreground_gamma", "foreground_beta", "background_gamma", "background_beta")
every_precision = pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)


def test_mask_is_resized_by_nearest_neighbours(golden: Golden) -> None:
    small, full = golden.tensor("mask_small"), golden.tensor("mask_full")
    assert torch.equal(F.interpolate(full, small.shape[2:], mode="nearest"), small)
    layer, x = nn.RNB(golden["x"].shape[1], dtype=torch.float64), golden.tensor("x")
    assert torch.equal(layer(x, full), layer(x, small))


@every_precision
@pytest.mark.parametrize("kernel", ["default", "reference", *REGION_NORM.implementations])
def test_core(golden: Golden, kernel: str, dtype: torch.dtype, tolerance: float) -> None:
    x, label = golden.tensor("x", dtype), golden.tensor("mask_small", torch.bool)
    for case in golden.cases(r"core\.(.*\.y(_official_eps)?)"):
        style, _, result = case.partition(".")
        arguments = (x, label, 2, None, None, style, EPS, "official" if result.endswith("official_eps") else "plain")
        named = None if kernel == "default" else kernel
        if named not in (None, "reference") and (reason := REGION_NORM.implementations[kernel].refusal(*arguments)):
            pytest.skip(reason)
        _close(functional.region_norm(*arguments, kernel=named), golden.tensor(f"core.{case}"), tolerance)


@every_precision
def test_rnb(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    for style in golden.cases(r"rnb\.paper\.(\w+)\.y"):
        layer = _rnb(golden, dtype, style=style)
        x = golden.tensor("x", dtype).requires_grad_()
        y = layer(x, golden.tensor("mask_full"))
        _close(y, golden.tensor(f"rnb.paper.{style}.y"), tolerance)
        wanted = [getattr(layer, name) for name in PARAMETERS]
        gradients = torch.autograd.grad(y, [x, *wanted], golden.tensor("gy", dtype))
        for name, gradient in zip(("gx", *(f"g_{name}" for name in PARAMETERS)), gradients, strict=True):
            _close(gradient, golden.tensor(f"rnb.paper.{style}.{name}"), tolerance)


@every_precision
def test_rnb_as_released(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    layer = _rnb(golden, dtype, style="batch", affine_mode="official", eps_mode="official")
    x = golden.tensor("x", dtype).requires_grad_()
    y = layer(x, golden.tensor("mask_full"))
    _close(y, golden.tensor("rnb.official.y"), tolerance)
    _close(torch.autograd.grad(y, x, golden.tensor("gy", dtype))[0], golden.tensor("rnb.official.gx"), tolerance)


@every_precision
def test_rnl(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    for style in golden.cases(r"rnl\.paper\.(\w+)\.y"):
        layer, x = _rnl(golden, dtype, style=style), golden.tensor("x", dtype)
        _close(layer.sa(x)[0], golden.tensor("rnl.importance"), tolerance)
        _close(layer(x), golden.tensor(f"rnl.paper.{style}.y"), tolerance)


@every_precision
def test_rnl_as_released(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    layer = _rnl(golden, dtype, style="batch", eps_mode="official")
    x = golden.tensor("x", dtype).requires_grad_()
    y = layer(x)
    _close(y, golden.tensor("rnl.official.y"), tolerance)
    _close(torch.autograd.grad(y, x, golden.tensor("gy", dtype))[0], golden.tensor("rnl.official.gx"), tolerance)


def _rnb(golden: Golden, dtype: torch.dtype, **options: str) -> nn.RNB:
    layer = nn.RNB(golden["x"].shape[1], eps=EPS, dtype=dtype, **options)
    layer.load_state_dict({name: golden.tensor(f"rnb.{name}", dtype) for name in PARAMETERS})
    return layer


def _rnl(golden: Golden, dtype: torch.dtype, **options: str) -> nn.RNL:
    state = {name: golden.tensor(f"rnl.{name}", dtype) for name in golden.cases(r"rnl\.(sa\..*)")}
    size, threshold = state["sa.conv1.weight"].shape[-1], float(golden["rnl.threshold"])
    layer = nn.RNL(golden["x"].shape[1], threshold, size, eps=EPS, dtype=dtype, **options)
    layer.load_state_dict(state)
    return layer


def _close(ours: Tensor, wanted: Tensor, tolerance: float) -> None:
    bound = tolerance * max(1.0, wanted.abs().max().item())
    assert (ours.double() - wanted).abs().max().item() <= bound
