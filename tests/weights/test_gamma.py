"""How many features are switched off, and that pruning takes those and measures what it did."""

import pytest
import torch
from torch import nn

from normkit import nn as layers
from normkit.weights import gamma_report, prune_disabled
from tests.models.blocks import hugging_face


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([0.5, 0.005, -0.5, -0.005, 0.0, 1.0, 1.0, 1.0]))
        net[1].bias.copy_(torch.tensor([0.0, 0.3, 0.0, 0.0, 0.0, -50.0, 0.0, 0.0]))
    return net


IMAGES = torch.randn(6, 3, 8, 8)


def test_counts_gains_below_the_threshold() -> None:
    report = gamma_report(_net())
    assert [(layer.path, layer.channels, layer.disabled) for layer in report.layers] == [("1", 8, 3), ("4", 4, 0)]
    assert report.share == 3 / 12
    assert report.silent_share is None
    assert gamma_report(_net(), 0.6).share == 5 / 12
    counts, edges = report.histogram(4)
    assert counts.sum() == 12
    assert edges[0] == -0.5


def test_on_data_it_sees_what_gives_nothing() -> None:
    net = _net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    first = gamma_report(net, data=[IMAGES, IMAGES + 0.5]).layers[0]
    with torch.no_grad():
        outputs = torch.cat([net[:2].eval()(x) for x in (IMAGES, IMAGES + 0.5)]).transpose(0, 1).flatten(1)
    net.train()
    assert first.silent == int((outputs.amax(1) <= 0).sum())
    assert first.silent == 2  # γ = 0 with β = 0, and β = −50
    assert first.still == int((outputs.std(1, correction=0) < 0.01).sum())
    assert first.still >= 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())


def test_layer_norms_count_their_last_axis() -> None:
    net = nn.Sequential(nn.LayerNorm(4), layers.RMSNorm(4, offset=1.0))
    with torch.no_grad():
        net[0].weight[2], net[0].bias[2] = 0.0, -1.0
        net[1].weight.fill_(-1.0)  # with the constant that is added to it: 0
    first, second = gamma_report(net, data=[torch.randn(2, 4, 4)]).layers
    assert (first.disabled, first.still, first.silent) == (1, 1, 1)
    assert (second.disabled, second.silent) == (4, 4)


def test_pruning_zeroes_both_and_measures() -> None:
    net = _net().eval()
    before = net(IMAGES).detach()
    pruned = prune_disabled(net, example=IMAGES)
    assert pruned.channels == {"1": 3, "4": 0}
    assert net[1].weight[[1, 3, 4]].tolist() == net[1].bias[[1, 3, 4]].tolist() == [0, 0, 0]
    assert (net[1].weight != 0).sum() == 5
    moved = (net(IMAGES).detach() - before).abs().max().item()
    assert pruned.max_abs_diff == pytest.approx(moved, rel=1e-6)
    assert pruned.max_abs_diff > 0
    assert pruned.max_rel_diff == pytest.approx(moved / before.abs().max().item(), rel=1e-6)
    assert prune_disabled(net, example=IMAGES).max_abs_diff == 0


class Holed(nn.Module):
    """A region norm behind a convolution, which needs the mask."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), layers.RNB(4)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x), mask)


def test_the_gains_of_hole_and_rest_count_apart() -> None:
    net = Holed()
    with torch.no_grad():
        net.norm.foreground_gamma[:3] = -1.0  # γ = 1 + what is stored
        net.norm.foreground_beta.fill_(2.0)
    batch = (IMAGES, (torch.arange(64).view(8, 8) % 3 == 0).float().expand(6, 1, 8, 8))
    report = gamma_report(net, data=[batch])
    hole, rest = report.layers
    assert (hole.path, hole.channels, hole.disabled, hole.still) == ("norm.foreground_gamma", 4, 3, None)
    assert (rest.path, rest.channels, rest.disabled) == ("norm.background_gamma", 4, 0)
    assert prune_disabled(net, example=batch).channels == {"norm": 3}
    assert net.norm.foreground_gamma.tolist() == [-1, -1, -1, 0]
    assert net.norm.foreground_beta.tolist() == [0, 0, 0, 2]
    assert net.norm.background_gamma.tolist() == [0, 0, 0, 0]


def test_gemmas_norms_are_on_as_built() -> None:
    model, example = hugging_face("Gemma2")
    assert gamma_report(model).share == 0
    with torch.no_grad():
        model.model.norm.weight.fill_(-1.0)  # its gain is 0
    assert gamma_report(model).share > 0
    assert sum(prune_disabled(model, example=example).channels.values()) == 16
    assert model(**example).logits.abs().max() == 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="threshold is -1"):
        gamma_report(_net(), -1.0)
    with pytest.raises(ValueError, match="threshold is -1"):
        prune_disabled(_net(), -1.0, example=IMAGES)
    with pytest.raises(ValueError, match="data yields no batch"):
        gamma_report(_net(), data=[])
    with pytest.raises(ValueError, match="no normaliser with affine parameters"):
        gamma_report(nn.Sequential(nn.Linear(2, 2)))
