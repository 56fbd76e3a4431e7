"""The step of the LSTM against its equation, written out gate by gate."""

import torch
from torch.nn.functional import layer_norm

from normkit.nn import LayerNormLSTMCell


def test_the_step_is_its_equation() -> None:
    torch.manual_seed(1)
    cell = LayerNormLSTMCell(4, 3, dtype=torch.float64)
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    x, h, c = (torch.randn(2, width, dtype=torch.float64) for width in (4, 3, 3))
    p = dict(cell.named_parameters())
    from_x = layer_norm(x @ p["weight_ih"].T + p["bias_ih"], (12,), p["ln_ih.weight"], p["ln_ih.bias"])
    from_h = layer_norm(h @ p["weight_hh"].T, (12,), p["ln_hh.weight"], p["ln_hh.bias"])
    i, f, g, o = (from_x + from_h + p["bias_hh"]).chunk(4, 1)
    c_next = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h_next = torch.sigmoid(o) * torch.tanh(layer_norm(c_next, (3,), p["ln_c.weight"], p["ln_c.bias"]))
    found = cell(x, (h, c))
    torch.testing.assert_close(found, (h_next, c_next), rtol=0, atol=1e-12)


def test_the_cell_carried_on_is_not_normalised() -> None:
    cell = LayerNormLSTMCell(4, 8)
    with torch.no_grad():
        cell.bias_hh[8:16] = 20.0  # the forget gate is open
        _, c = cell(torch.randn(2, 4), (torch.zeros(2, 8), torch.full((2, 8), 50.0)))
    assert bool((c > 48).all())
