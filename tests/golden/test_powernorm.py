"""PowerNorm against an independent reference: several training steps with their backward passes, evaluation, PN-V."""

import numpy as np
import pytest
import torch
from torch import Tensor

from normkit.functional import power_norm
from normkit.nn import PowerNorm
from tests.golden.conftest import Golden

TOLERANCE = 1e-10
FLOAT32 = 1e-4
STEPWISE = ("y", "gx", "gw", "gb", "running_phi", "ema_gz")


def test_training_steps(golden: Golden) -> None:
    """Every step's output, gradients and running statistics, and the evaluation behind them."""
    for case in golden.cases(r"(\w+)_cfg"):
        layer = _layer(golden, case, torch.float64)
        for step, (x, gy) in enumerate(zip(golden.tensor(f"{case}_x"), golden.tensor(f"{case}_gy"), strict=True)):
            for name, value in _step(golden, case, layer, x, gy).items():
                _close(value, golden.tensor(f"{case}_{name}")[step], TOLERANCE)
        assert int(layer.iters) == int(golden[f"{case}_iters"].item())
        _close(layer.eval()(golden.tensor(f"{case}_x_eval")), golden.tensor(f"{case}_y_eval"), TOLERANCE)


def test_training_steps_in_float32(golden: Golden) -> None:
    for case in golden.cases(r"(\w+)_cfg"):
        layer = _layer(golden, case, torch.float32)
        steps = zip(golden.tensor(f"{case}_x"), golden.tensor(f"{case}_gy"), strict=True)
        for step, (x, gy) in enumerate(steps):
            for name, value in _step(golden, case, layer, x.float(), gy.float()).items():
                _close(value, golden.tensor(f"{case}_{name}")[step], FLOAT32)


@pytest.mark.parametrize("through", ["layer", "function"])
def test_pn_v(golden: Golden, through: str) -> None:
    for case in golden.cases(r"(\w+)_psi2"):
        x = golden.tensor(f"{case}_x").requires_grad_()
        weight, bias = (golden.tensor(f"{case}_{name}").requires_grad_() for name in ("weight", "bias"))
        phi = torch.ones_like(weight)
        if through == "layer":
            layer = PowerNorm(weight.numel(), group_num=0, variant="pn-v", dtype=torch.float64)
            y = torch.func.functional_call(layer, {"weight": weight, "bias": bias, "running_phi": phi}, (x,))
        else:
            y = power_norm(x, weight, bias, phi, training=True, variant="pn-v", group_num=0)
        gradients = torch.autograd.grad(y, (x, weight, bias), golden.tensor(f"{case}_gy"))
        _close(y, golden.tensor(f"{case}_y"), TOLERANCE)
        for name, gradient in zip(("gx", "gw", "gb"), gradients, strict=True):
            _close(gradient, golden.tensor(f"{case}_{name}"), TOLERANCE)
        _close(phi, 0.9 + 0.1 * golden.tensor(f"{case}_psi2"), TOLERANCE)


def _layer(golden: Golden, case: str, dtype: torch.dtype) -> PowerNorm:
    _, _, channels, groups, warmup, _ = (int(value) for value in golden[f"{case}_cfg"])
    forward, backward = (float(value) for value in golden[f"{case}_alpha"])
    layer = PowerNorm(
        channels, alpha_fwd=forward, alpha_bwd=backward, warmup_iters=warmup, group_num=groups, dtype=dtype
    )
    with torch.no_grad():
        layer.weight.copy_(golden.tensor(f"{case}_weight"))
        layer.bias.copy_(golden.tensor(f"{case}_bias"))
    return layer.train()


def _step(golden: Golden, case: str, layer: PowerNorm, x: Tensor, gy: Tensor) -> dict[str, Tensor]:
    """One forward and backward pass; T × B × C, and the mask B × T."""
    x.requires_grad_()
    mask = golden.tensor(f"{case}_pad_mask").T if f"{case}_pad_mask" in golden else None
    y = layer(x, mask)
    gx, gw, gb = torch.autograd.grad(y, (x, layer.weight, layer.bias), gy)
    moved = (layer.running_phi.clone(), layer.ema_gz.clone())
    return dict(zip(STEPWISE, (y.detach(), gx, gw, gb, *moved), strict=True))


def _close(ours: Tensor, wanted: Tensor, tolerance: float) -> None:
    bound = tolerance * max(1.0, np.abs(wanted.numpy()).max())
    assert ours.shape == wanted.shape
    assert (ours.double() - wanted).abs().max().item() <= bound
