"""The step of the GRU against its equation, written out gate by gate."""

import torch
from torch.nn.functional import layer_norm

from normkit.nn import LayerNormGRUCell


def test_the_step_is_its_equation() -> None:
    torch.manual_seed(1)
    cell = LayerNormGRUCell(4, 3, dtype=torch.float64)
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    x, h = torch.randn(2, 4, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    p = dict(cell.named_parameters())

    def norm(name: str, value: torch.Tensor) -> torch.Tensor:
        return layer_norm(value, value.shape[1:], p[f"{name}.weight"], p[f"{name}.bias"])

    (w_gates, w_new), (u_gates, u_new), (b_gates, b_new), (d_gates, d_new) = (
        p[name].split([6, 3]) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    gates = torch.sigmoid(norm("ln_ih", x @ w_gates.T + b_gates) + norm("ln_hh", h @ u_gates.T) + d_gates)
    r, z = gates.chunk(2, 1)
    new = torch.tanh(norm("ln_in", x @ w_new.T + b_new) + r * (norm("ln_hn", h @ u_new.T) + d_new))
    torch.testing.assert_close(cell(x, h), (1 - z) * new + z * h, rtol=0, atol=1e-12)
