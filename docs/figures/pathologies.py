"""Draw each paper's pathology from a small computation: `python docs/figures/pathologies.py [SLUG …]`.

Writes `<slug>.svg` beside this file; the pages take the drawings in. Each takes seconds on one core.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normkit import data, functional, models
from normkit.data.files import write_atomically
from normkit.nn import BatchChannelNorm2d, EvoNorm2dB0, EvoNorm2dS0
from normkit.report import COLORS, new_figure, svg
from normkit.weights import weight_standardization

HERE = Path(__file__).parent


def layer_norm() -> Any:
    """How much a fixed case's output moves with the rest of its batch, over the batch's size."""
    units = 64
    case, sizes = torch.randn(1, units), [2, 4, 8, 16, 32, 64, 128]
    moved: dict[str, list[float]] = {"BatchNorm": [], "LayerNorm": []}
    for size in sizes:
        for name, norm in (("BatchNorm", nn.BatchNorm1d(units)), ("LayerNorm", nn.LayerNorm(units))):
            with torch.no_grad():
                outputs = torch.stack([norm(torch.cat([case, torch.randn(size - 1, units)]))[0] for _ in range(400)])
            moved[name].append(float(outputs.std(0).mean()))
    figure, axes = new_figure()
    axes.plot(sizes, moved["BatchNorm"], "o-", color=COLORS["before"], label="BatchNorm")
    axes.plot(sizes, moved["LayerNorm"], "o-", color=COLORS["after"], label="LayerNorm")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("cases in the batch")
    axes.set_ylabel("spread of one case's output")
    axes.legend()
    return figure


def evonorm() -> Any:
    """The response of each layer to one value of a map that is otherwise standard normal."""
    x = torch.linspace(-3, 3, 121)
    maps = torch.randn(121, 4, 24, 24)
    maps[:, 0, 0, 0] = x
    layers = {
        "BatchNorm, ReLU": nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()),
        "EvoNorm-S0": EvoNorm2dS0(4, groups=1),
        "EvoNorm-B0": EvoNorm2dB0(4),
    }
    figure, axes = new_figure()
    for (name, layer), color in zip(layers.items(), ("before", "after", "accent"), strict=True):
        with torch.no_grad():
            axes.plot(x, layer(maps)[:, 0, 0, 0], color=COLORS[color], label=name)
    axes.set_xlabel("x")
    axes.set_ylabel("output")
    axes.legend()
    return figure


def batch_channel_norm() -> Any:
    """How far the channels that enter each ReLU are from the middle, by depth, for three ways to normalise."""
    images = data.digits()[0][:256]
    nets = {
        "GroupNorm": (models.PlainConvNet(lambda channels: nn.GroupNorm(4, channels)), False),
        "GroupNorm, WS": (models.PlainConvNet(lambda channels: nn.GroupNorm(4, channels)), True),
        "BCN, WS": (models.PlainConvNet(lambda channels: BatchChannelNorm2d(channels, 4, style="batch")), True),
    }
    figure, axes = new_figure()
    for index, ((name, (net, standardize)), color) in enumerate(
        zip(nets.items(), ("before", "watch", "after"), strict=True)
    ):
        farness = _farness(net, images, standardize)
        depth = torch.arange(len(farness)).repeat_interleave(farness.shape[1]) + 1 + 0.22 * (index - 1)
        axes.plot(depth, farness.flatten(), "o", markersize=3, alpha=0.7, color=COLORS[color], label=name)
    axes.axhline(2.3, linestyle="--", color=COLORS["muted"])
    axes.set_xlabel("depth")
    axes.set_ylabel("|mean| / deviation")
    axes.set_ylim(0, 3.4)
    axes.legend(loc="upper left", ncols=3)
    return figure


def _farness(net: nn.Module, images: Tensor, standardize: bool) -> Tensor:
    """|mean| / deviation of every channel (columns) that enters a ReLU (rows)."""
    if standardize:
        for module in [module for module in net.modules() if isinstance(module, nn.Conv2d)]:
            weight_standardization(module)
    found: list[Tensor] = []
    for module in [module for module in net.modules() if isinstance(module, nn.ReLU)]:
        module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].transpose(0, 1).flatten(1)))
    with torch.no_grad():
        net(images)
    return torch.stack([(rows.mean(1) / rows.std(1)).abs() for rows in found if len(rows) == len(found[0])])


def pre_rmsnorm() -> Any:
    """The mean's share of the stream behind each block of a Pre-LN encoder, before and after recentring its writers."""
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


def peri_ln() -> Any:
    """The variance of a fresh network's stream by depth, for two scales of its weights and three placements."""
    figure, axes = new_figure()
    for placement, color in (("pre", "before"), ("post", "muted"), ("peri", "after")):
        for std, style in ((0.02, "--"), (0.125, "-")):
            torch.manual_seed(0)
            model = models.Transformer(64, 64, 4, 12, placement=placement, eps=1e-6, init_std=std, max_length=32)
            found: list[float] = []
            for layer in model.layers:
                layer.register_forward_hook(
                    lambda _, args, x, found=found: found.append(float(x.var(-1, correction=0).mean()))
                )
            with torch.no_grad():
                model(torch.randint(64, (8, 32)))
            depth = range(2, 2 * len(found) + 1, 2)
            axes.plot(depth, found, style, color=COLORS[color], label=f"{placement}-LN, weights {std}")
    axes.set_yscale("log")
    axes.set_xlabel("sub-layers")
    axes.set_ylabel("variance of the stream")
    axes.legend(ncols=3)
    return figure


def two_pass_softmax() -> Any:
    """The largest error of one softmax row over its length, in units in the last place."""
    sizes = [2**power for power in range(4, 25, 2)]
    errors: dict[str, list[float]] = {"torch": [], "normkit": []}
    for size in sizes:
        x = 4 * torch.randn(1, size)
        exact = torch.softmax(x.double(), -1)
        for name, softmax in (("torch", torch.softmax), ("normkit", functional.softmax)):
            errors[name].append(_ulp(softmax(x, -1), exact))
    figure, axes = new_figure()
    axes.plot(sizes, errors["torch"], "o-", color=COLORS["before"], label="torch")
    axes.plot(sizes, errors["normkit"], "o-", color=COLORS["after"], label="normkit")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("length of the row")
    axes.set_ylabel("largest error, ULP")
    axes.set_ylim(1, None)
    axes.legend()
    return figure


def _ulp(found: Tensor, exact: Tensor) -> float:
    normal = exact >= 2.0**-125
    error = (found.double()[normal] - exact[normal]).abs()
    return float(torch.ldexp(error, 24 - torch.frexp(exact[normal]).exponent).max())


DRAWINGS = {
    "layer-norm": layer_norm,
    "evonorm": evonorm,
    "batch-channel-norm": batch_channel_norm,
    "pre-rmsnorm": pre_rmsnorm,
    "peri-ln": peri_ln,
    "two-pass-softmax": two_pass_softmax,
}

if __name__ == "__main__":
    for slug in sys.argv[1:] or DRAWINGS:
        torch.manual_seed(0)
        write_atomically(HERE / f"{slug}.svg", svg(DRAWINGS[slug]()) + "\n")
        print(slug)
