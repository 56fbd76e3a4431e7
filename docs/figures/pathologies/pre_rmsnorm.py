"""The mean's share of the stream behind each block of a Pre-LN encoder, before and after recentring its writers."""

from typing import Any

import torch
from torch import Tensor, nn

from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 8, norm=nn.LayerNorm(64), enable_nested_tensor=False).double().eval()
    x = torch.randn(8, 32, 64, dtype=torch.float64) + 0.3
    before, output = _mean_share(encoder, x)
    for block in encoder.layers:
        _recentre(block.self_attn.out_proj)
        _recentre(block.linear2)
    after, recentred = _mean_share(encoder, x - x.mean(-1, keepdim=True))
    assert torch.allclose(output, recentred, rtol=1e-10, atol=1e-12)
    figure, axes = new_figure()
    axes.plot(range(1, 9), before, "o-", color=COLORS["before"], label="as it is")
    axes.plot(range(1, 9), after, "o-", color=COLORS["after"], label="writers recentred")
    axes.set_xlabel("block")
    axes.set_ylabel("|mean| / root mean square")
    axes.legend()
    return figure


def _recentre(writer: nn.Linear) -> None:
    with torch.no_grad():
        writer.weight -= writer.weight.mean(0)
        writer.bias -= writer.bias.mean()


def _mean_share(encoder: nn.TransformerEncoder, x: Tensor) -> tuple[list[float], Tensor]:
    shares: list[float] = []
    assert encoder.norm is not None
    with torch.no_grad():
        for block in encoder.layers:
            x = block(x)
            shares.append(float((x.mean(-1).abs() / x.square().mean(-1).sqrt()).mean()))
        return shares, encoder.norm(x)
