"""Which parameters are the affine ones of normalisers, and how they are set anew."""

import pytest
import torch
from torch import nn

from normkit import nn as layers
from normkit.models import Transformer, cifar_resnet
from normkit.weights import affine_normalizers, affine_parameters, random_features_, reinit_affine_
from normkit.weights.affine import gain_of, shift_of


class LlamaRMSNorm(nn.Module):
    """As another library writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))


class NormedLinear(nn.Module):
    """Has "norm" in its name and holds a matrix: no normaliser."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))


class FrozenBatchNorm2d(nn.Module):
    """As torchvision's: all of it are buffers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.full((channels,), float(name in ("weight", "running_var"))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


EVERY_NORM = {
    "bn1": nn.BatchNorm1d(4),
    "bn3": nn.BatchNorm3d(4),
    "inorm": nn.InstanceNorm2d(4, affine=True),
    "gn": nn.GroupNorm(2, 4),
    "ln": nn.LayerNorm((4, 3)),
    "rms": nn.RMSNorm(4),
    "llama": LlamaRMSNorm(),
    "frozen": FrozenBatchNorm2d(4),
    "ours": layers.EvoNorm2dB0(4),
    "bcn": layers.BatchChannelNorm2d(4, 2),
}
OTHERS = {"plain": nn.InstanceNorm2d(4), "linear": nn.Linear(4, 4), "named": NormedLinear(), "crms": layers.CRMSNorm(4)}


def test_finds_every_normaliser_with_parameters_and_nothing_else() -> None:
    model = nn.ModuleDict({**EVERY_NORM, **OTHERS})
    assert set(affine_normalizers(model)) == {*EVERY_NORM, "bcn.bn"}
    assert {"ours.v", "bcn.weight", "bcn.bn.weight", "llama.weight"} <= set(affine_parameters(model))
    assert "frozen.weight" not in affine_parameters(model)  # a buffer as yet
    assert affine_normalizers(nn.LayerNorm(3)).keys() == {""}


@pytest.mark.parametrize(
    ("depth", "width", "wanted"), [(14, 16, 1120), (32, 16, 2464), (56, 16, 4256), (110, 16, 8288), (14, 4, 280)]
)
def test_counts_of_the_papers_nets(depth: int, width: int, wanted: int) -> None:
    """14·W·(1 + 2D) of the paper's tables."""
    assert sum(p.numel() for p in affine_parameters(cifar_resnet(depth, width)).values()) == wanted


def test_patterns_choose_and_misfits_are_named() -> None:
    model = cifar_resnet(8, 4)
    assert set(affine_normalizers(model, ["blocks.0.*"])) == {"blocks.0.bn1", "blocks.0.bn2"}
    with pytest.raises(ValueError, match=r"names no normaliser.*bn, blocks.0.bn1.* and 4 more"):
        affine_normalizers(model, ["layer4"])
    with pytest.raises(ValueError, match="no normaliser with affine parameters: it has Linear, ReLU"):
        affine_normalizers(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    with pytest.raises(ValueError, match="CRMSNorm have no gain or shift"):
        affine_normalizers(nn.Sequential(layers.CRMSNorm(2)))


@pytest.mark.parametrize(
    ("kind", "low", "high", "shift"),
    [("uniform", 0, 1, 0), ("fixed", 1, 1, 0), ("oneone", 1, 1, 1), ("positivenegative", -1, 1, 0)],
)
def test_initial_values(kind: str, low: float, high: float, shift: float) -> None:
    model = nn.Sequential(nn.BatchNorm2d(500), layers.RMSNorm(500, offset=1.0, bias=True))
    reinit_affine_(model, kind, torch.Generator().manual_seed(0))
    for norm in model:
        gain, beta = gain_of(norm), shift_of(norm)
        assert gain is not None
        assert beta is not None
        assert (gain.min() >= low) & (gain.max() <= high)
        assert gain.mean().item() == pytest.approx((low + high) / 2, abs=0.08)
        assert (beta == shift).all()
    first = [p.clone() for p in model.parameters()]
    reinit_affine_(model, kind, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(first, model.parameters(), strict=True))
    with pytest.raises(ValueError, match="kind is 'ones': it must be one of uniform, fixed"):
        reinit_affine_(model, "ones")


@pytest.mark.parametrize("kind", ["kaiming_normal", "kaiming_uniform", "binary", "orthogonal"])
def test_random_features(kind: str) -> None:
    model = nn.Sequential(nn.Conv2d(16, 64, 3), nn.BatchNorm2d(64), nn.Linear(64, 32))
    bias = model[0].bias.clone()
    random_features_(model, kind, torch.Generator().manual_seed(0))
    assert torch.equal(model[0].bias, bias)
    weight = model[0].weight.detach().flatten(1)
    if kind == "orthogonal":
        torch.testing.assert_close(weight @ weight.T, torch.eye(64), atol=1e-5, rtol=0)
        return
    assert weight.std().item() == pytest.approx((2 / 144) ** 0.5, rel=0.03)
    if kind == "binary":
        assert weight.abs().unique().numel() == 1
    with pytest.raises(ValueError, match="kind is 'zeros'"):
        random_features_(model, "zeros")
    with pytest.raises(ValueError, match="no linear map or convolution"):
        random_features_(nn.ReLU())


def test_a_transformer_has_them_too() -> None:
    found = affine_normalizers(Transformer(11, 8, 2, 2))
    assert len(found) >= 4
