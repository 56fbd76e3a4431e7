"""Which parameters are the affine ones of normalisers, and how they are set anew."""

import pytest
import torch
from torch import nn

from normkit import nn as layers
from normkit.models import Transformer, cifar_resnet
from normkit.weights import affine_normalizers, affine_parameters, random_features_, reinit_affine_
from normkit.weights.gain import gains_of, shifts_of
from tests.models.blocks import hugging_face
from tests.nn.instances import INSTANCES, Instance


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
    "rnb": layers.RNB(4),
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


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: instance.name)
def test_every_layer_of_ours_counts_that_has_gains_or_shifts(instance: Instance) -> None:
    layer = instance.make()
    own = [name for name, _ in layer.named_parameters(recurse=False)]
    found = affine_normalizers(nn.ModuleDict({"it": layer, "other": nn.LayerNorm(2)}))
    recurrent = any(name.startswith("weight_ih") for name in own)  # its norms count, and it is none itself
    assert ("it" in found) is (bool(own) and not recurrent)
    assert not recurrent or any(path.startswith("it.ln") for path in found)


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
        ((kept,), (beta,)) = gains_of(norm), shifts_of(norm)
        gain = kept.value
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


class GemmaRMSNorm(nn.Module):
    """As Gemma's is written elsewhere: what it stores is γ − 1, and no attribute says so."""

    def __init__(self, channels: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.eps, self.weight = 1e-6, nn.Parameter(torch.zeros(channels, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normal = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return (normal * (1.0 + self.weight.float())).type_as(x)


class OnePlus(nn.LayerNorm):
    """A LayerNorm of another library that adds 1 to its weight."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(x, self.normalized_shape, self.weight + 1, self.bias, self.eps)


@pytest.mark.parametrize(
    ("norm", "offset"),
    [
        (GemmaRMSNorm(6), 1.0),
        (GemmaRMSNorm(6, torch.bfloat16), 1.0),
        (OnePlus(6), 1.0),
        (FrozenBatchNorm2d(6), 0.0),
        (LlamaRMSNorm(), 0.0),  # it cannot be run
        (nn.LayerNorm(6), 0.0),
        (layers.RMSNorm(6, offset=1.0), 1.0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_the_constant_beside_the_gain_is_found_by_trial(norm: nn.Module, offset: float) -> None:
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    (gain,) = gains_of(norm)
    assert gain.offset == offset
    assert torch.equal(gain.value, gain.stored + offset)
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())


def test_the_trial_sees_the_class_and_not_what_hangs_on_the_module() -> None:
    norm = GemmaRMSNorm(4)
    norm.register_forward_hook(lambda *_: pytest.fail("a hook ran"))
    norm.forward = lambda x: pytest.fail("a patched forward ran")  # type: ignore[method-assign]
    assert gains_of(norm)[0].offset == 1.0


def test_gemmas_norms_are_set_by_their_gain() -> None:
    model, example = hugging_face("Gemma2")
    norms = affine_normalizers(model)
    assert {gain.offset for norm in norms.values() for gain in gains_of(norm)} == {1.0}
    before = model(**example).logits
    reinit_affine_(model, "fixed")  # their gain is 1 as built
    torch.testing.assert_close(model(**example).logits, before, atol=0, rtol=0)


def test_both_regions_of_a_region_norm_are_set() -> None:
    norm = reinit_affine_(layers.RNB(3), "oneone")
    assert [gain.value.tolist() for gain in gains_of(norm)] == [[1.0] * 3] * 2
    assert [shift.tolist() for shift in shifts_of(norm)] == [[1.0] * 3] * 2
    reinit_affine_(norm, "uniform", torch.Generator().manual_seed(0))
    assert all(bool(((gain.value >= 0) & (gain.value <= 1)).all()) for gain in gains_of(norm))


def test_a_transformer_has_them_too() -> None:
    found = affine_normalizers(Transformer(11, 8, 2, 2))
    assert len(found) >= 4
