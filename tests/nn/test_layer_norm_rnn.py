"""The step of the Elman network against its equation."""

import pytest
import torch
from torch.nn.functional import layer_norm

from normkit.nn import LayerNormRNNCell


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_step_is_its_equation(nonlinearity: str) -> None:
    torch.manual_seed(1)
    cell = LayerNormRNNCell(4, 3, nonlinearity=nonlinearity, dtype=torch.float64)
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    x, h = torch.randn(2, 4, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    p = dict(cell.named_parameters())
    summed = x @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"]
    normal = layer_norm(summed, (3,), p["ln.weight"], p["ln.bias"])
    torch.testing.assert_close(cell(x, h), getattr(torch, nonlinearity)(normal), rtol=0, atol=1e-12)
    assert nonlinearity == "tanh" or "relu" in repr(cell)
