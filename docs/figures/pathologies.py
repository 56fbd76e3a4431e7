"""Draw each paper's pathology from a small computation: `python docs/figures/pathologies.py [SLUG …]`.

Writes `<slug>.svg` beside this file; the pages take the drawings in. Each takes seconds on one core.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normkit import data, functional, models, search, training
from normkit.data.files import write_atomically
from normkit.nn import BatchChannelNorm2d, EvoNorm2dB0, EvoNorm2dS0, LayerNormRNN, PowerNorm, UnifiedNorm
from normkit.report import COLORS, new_figure, svg
from normkit.weights import freeze, random_features_, reinit_affine_, weight_standardization

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


def layer_norm_recurrent() -> Any:
    """The share of saturated units of a tanh network by the step, for three scales of its recurrent weights."""
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


def evonorm_search() -> Any:
    """The two published winners as graphs of the search space."""
    figure, axes = new_figure(7.2, 4.4, columns=2)
    for each, name in zip(axes, ("evonorm-b0", "evonorm-s0"), strict=True):
        search.draw(search.known[name], each)
        each.set_title(name.replace("evonorm-", "EvoNorm-").replace("b0", "B0").replace("s0", "S0"))
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


def powernorm() -> Any:
    """What BatchNorm and PowerNorm divide one channel by, batch by batch, in a character model on single windows."""
    text, _, alphabet = data.character_split()
    model = models.character_model(len(alphabet), placement="post").eval()
    seen: list[Tensor] = []
    model.layers[-1].norm2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, -2)))
    with torch.no_grad():
        for window, _ in data.text_batches(text, 48, 1, 80, 0):
            model(window)
    channel = torch.stack(seen)[:, :, 0]
    variance, running = channel.var(1, correction=0), []
    norm = PowerNorm(seen[0].shape[-1], warmup_iters=0)
    for x in seen:
        norm(x)
        running.append(norm.running_phi[0].clone())
    figure, axes = new_figure()
    for values, color, label in (
        (variance, "before", "batch variance"),
        (torch.stack(running), "after", "running quadratic mean"),
    ):
        axes.plot(values / values[len(values) // 4 :].mean(), "o-", markersize=3, color=COLORS[color], label=label)
    axes.set_xlabel("batch")
    axes.set_ylabel("over its average")
    axes.legend()
    return figure


def unified_norm() -> Any:
    """The size of a layer's output in training, batch by batch, around one whose two images are 50 times too large."""
    images, _, _, _ = data.digits()
    embed = nn.Linear(4, 16)
    layers = {
        "no filter": (UnifiedNorm(16, warmup_iters=0), "before"),
        "filter": (UnifiedNorm(16, warmup_iters=0, outlier_filtration=True), "after"),
    }
    figure, axes = new_figure()
    for name, (layer, color) in layers.items():
        sizes = []
        for step, batch in enumerate(images[:640].split(32)):
            scale = torch.ones(32, 1, 1, 1)
            if step == 10:
                scale[:2] = 50.0
            with torch.no_grad():
                y = layer(embed(nn.functional.pixel_unshuffle(batch * scale, 2).flatten(2).transpose(1, 2)))
            sizes.append(float(y.square().mean().sqrt()))
        axes.plot(range(1, 21), sizes, "o-", color=COLORS[color], label=name)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("batch")
    axes.set_ylabel("root mean square of the output")
    axes.legend()
    return figure


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
            axes.plot(depth, found, style, color=COLORS[color], label=f"{placement}-LN" if style == "-" else None)
    axes.set_yscale("log")
    axes.set_xlabel("sub-layers")
    axes.set_ylabel("variance of the stream")
    axes.legend(loc="center right", ncols=3)
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


def region_norm() -> Any:
    """Mean of the valid pixels, in their own deviations, under a white rectangle of each size."""
    areas = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    pictures = nn.functional.interpolate(torch.rand(64, 3, 6, 6), size=48, mode="bicubic").clamp(0, 1)
    moved: dict[str, list[float]] = {"InstanceNorm": [], "region norm": []}
    for area in areas:
        masks = data.random_masks(64, 48, "rectangle", (area - 0.01, area + 0.01))
        filled = torch.where(masks, 1.0, pictures)
        for name, y in (
            ("InstanceNorm", nn.functional.instance_norm(filled)),
            ("region norm", functional.region_norm(filled, masks)),
        ):
            shifts = [
                abs(float(z[:, ~hole[0]].mean() / z[:, ~hole[0]].std())) for z, hole in zip(y, masks, strict=True)
            ]
            moved[name].append(float(torch.tensor(shifts).median()))
    figure, axes = new_figure()
    axes.plot(areas, moved["InstanceNorm"], "o-", color=COLORS["before"], label="InstanceNorm")
    axes.plot(areas, moved["region norm"], "o-", color=COLORS["after"], label="region norm")
    axes.set_xlabel("share of the pixels that is a hole")
    axes.set_ylabel("shift of the mean, deviations")
    axes.legend()
    return figure


def bn_only() -> Any:
    """Test accuracy on the digits over the share of the parameters that train, everything else as it was drawn."""
    x_train, y_train, x_test, y_test = data.digits("unit")
    figure, axes = new_figure()
    parts = {"two weights a filter": "random", "output layer": "output", "γ and β": "affine", "everything": "all"}
    for (name, condition), color in zip(parts.items(), ("before", "watch", "after", "muted"), strict=True):
        torch.manual_seed(0)
        net = reinit_affine_(random_features_(models.cifar_resnet(14, in_channels=1)))
        share = freeze(net, condition).share
        training.fit(
            net,
            data.batches(x_train, y_train, 64, drop_last=True),
            steps=150,
            optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=1e-4),
            schedule=training.step_decay(),
        )
        reached = 100 * training.accuracy(net, x_test, y_test)
        axes.plot([100 * share], [reached], "o", markersize=9, color=COLORS[color], label=name)
    axes.set_xscale("log")
    axes.set_xlabel("parameters that train, %")
    axes.set_ylabel("test accuracy, %")
    axes.set_ylim(0, 100)
    axes.legend(loc="lower right")
    return figure


DRAWINGS = {
    "bn-only": bn_only,
    "layer-norm": layer_norm,
    "layer-norm-recurrent": layer_norm_recurrent,
    "evonorm": evonorm,
    "evonorm-search": evonorm_search,
    "batch-channel-norm": batch_channel_norm,
    "pre-rmsnorm": pre_rmsnorm,
    "powernorm": powernorm,
    "region-norm": region_norm,
    "unified-norm": unified_norm,
    "peri-ln": peri_ln,
    "two-pass-softmax": two_pass_softmax,
}

if __name__ == "__main__":
    for slug in sys.argv[1:] or DRAWINGS:
        torch.manual_seed(0)
        write_atomically(HERE / f"{slug}.svg", svg(DRAWINGS[slug]()) + "\n")
        print(slug)
