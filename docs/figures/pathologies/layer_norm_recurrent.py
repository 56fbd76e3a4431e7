"""The share of saturated units of a tanh network by the step, for three scales of its recurrent weights."""

from typing import Any

import torch
from torch import Tensor, nn

from normkit.nn import LayerNormRNN
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture."""
    figure, axes = new_figure()
    for label, norm, color in (("no norm", False, "before"), ("LayerNorm", True, "after")):
        for scale, line in ((1.0, ":"), (2.0, "--"), (4.0, "-")):
            axes.plot(_saturated(scale, norm), line, color=COLORS[color], label=f"{label}, scale {scale:g}")
    axes.set_xlabel("step")
    axes.set_ylabel("share of saturated units")
    axes.legend(ncols=2, loc="upper right")
    axes.set_ylim(-0.02, 0.95)
    return figure


def _saturated(scale: float, norm: bool) -> Tensor:
    """Per step, the share of |h| > 0.99 among 64 units in 64 sequences of noise."""
    torch.manual_seed(0)
    net = LayerNormRNN(64, 64, bias=False, layer_norm=norm)
    nn.init.normal_(net.get_parameter("weight_ih_l0"), std=64**-0.5)
    nn.init.normal_(net.get_parameter("weight_hh_l0"), std=scale * 64**-0.5)
    with torch.no_grad():
        output, _ = net(torch.randn(40, 64, 64))
    return (output.abs() > 0.99).float().mean((1, 2))
