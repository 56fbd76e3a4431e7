"""LayerNorm against the vectors of the authors' own functions (the recurrent keys are pending)."""

import pytest
import torch
from torch import Tensor

from normkit import nn
from tests.golden.conftest import Golden


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_layer_norm(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    x = golden.tensor("ln_x", dtype).requires_grad_()
    layer = nn.LayerNorm(golden["ln_weight"].shape, dtype=dtype)
    layer.load_state_dict({"weight": golden.tensor("ln_weight", dtype), "bias": golden.tensor("ln_bias", dtype)})
    y = layer(x)
    gradients = torch.autograd.grad(y, (x, layer.weight, layer.bias), golden.tensor("ln_gy", dtype))
    for key, ours in zip(("ln_y", "ln_gx", "ln_gw", "ln_gb"), (y, *gradients), strict=True):
        _close(ours, golden.tensor(key), tolerance, key)


def _close(ours: Tensor, wanted: Tensor, tolerance: float, key: str) -> None:
    bound = tolerance * max(1.0, wanted.abs().max().item())
    assert (ours.double() - wanted).abs().max().item() <= bound, key
