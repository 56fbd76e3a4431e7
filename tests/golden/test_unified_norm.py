"""UnifiedNorm against an independent implementation: every step of every case with its state, then evaluation."""

import pytest
import torch
from torch import Tensor

from normkit.nn import UnifiedNorm
from tests.golden.conftest import Golden

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
STATE = ("running_var", "ema_gz", "buffer_x2", "buffer_gz")


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_every_step(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    cases = golden.cases(r"(\w+)_cfg")
    assert cases
    for case in cases:
        _check(golden, case, dtype, tolerance)


def _check(golden: Golden, case: str, dtype: torch.dtype, tolerance: float) -> None:
    layer, mask = _layer(golden, case, dtype), _mask(golden, case)
    for step in range(int(golden[f"{case}_cfg"][6])):
        x = golden.tensor(f"{case}_x", dtype)[step].requires_grad_()
        y = layer(x, mask)
        gradients = torch.autograd.grad(y, (x, layer.weight, layer.bias), golden.tensor(f"{case}_gy", dtype)[step])
        found = dict(zip(("y", "gx", "gw", "gb"), (y.detach(), *gradients), strict=True))
        found |= {name: getattr(layer, name) for name in STATE}
        for name, ours in found.items():
            _close(ours, golden.tensor(f"{case}_{name}")[step], tolerance)
        for name in ("iters", "skip_counter"):
            if f"{case}_{name}" in golden:
                assert int(getattr(layer, name)) == int(golden[f"{case}_{name}"][step].item()), (case, step, name)
    if f"{case}_x_eval" in golden:
        _close(layer.eval()(golden.tensor(f"{case}_x_eval", dtype)), golden.tensor(f"{case}_y_eval"), tolerance)


def _layer(golden: Golden, case: str, dtype: torch.dtype) -> UnifiedNorm:
    _, _, channels, window, backward, warmup, _, filtration = (int(value) for value in golden[f"{case}_cfg"])
    layer = UnifiedNorm(channels, (window, backward), warmup, bool(filtration), dtype=dtype)
    start = {name: golden.tensor(f"{case}_{name}", dtype) for name in ("weight", "bias")}
    start |= {name: golden.tensor(f"{case}_init_{name}") for name in golden.cases(rf"{case}_init_(\w+)")}
    layer.load_state_dict(layer.state_dict() | start)
    return layer


def _mask(golden: Golden, case: str) -> Tensor | None:
    return golden.tensor(f"{case}_pad_mask") if f"{case}_pad_mask" in golden else None


def _close(ours: Tensor, wanted: Tensor, tolerance: float) -> None:
    bound = tolerance * max(1.0, wanted.abs().max().item())
    assert (ours.double() - wanted).abs().max().item() <= bound
