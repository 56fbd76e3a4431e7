"""Norms over the last axis that are a scale and a shift in evaluation go into every map that reads them, or stay."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from normkit import weights
from normkit.conversion import ConversionError, ToUnifiedNorm, convert
from normkit.models import Transformer
from normkit.nn import PowerNorm, UnifiedNorm
from tests.conversion.instances import encoder, vectors

WIDTH = 16


def settled(net: nn.Module, *inputs: Tensor) -> nn.Module:
    """In evaluation mode, with statistics, gains and shifts that are not trivial."""
    generator = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, UnifiedNorm):
            with torch.no_grad():
                module.weight.add_(0.3 * torch.randn(module.weight.shape, generator=generator))
                module.bias.add_(0.3 * torch.randn(module.bias.shape, generator=generator))
    net.train()
    with torch.no_grad():
        for _ in range(5):
            net(*inputs)
    return net.eval()


def tokens() -> Tensor:
    return torch.randint(11, (3, 8), generator=torch.Generator().manual_seed(0))


def language_model(**options: object) -> nn.Module:
    torch.manual_seed(1)
    return Transformer(11, WIDTH, 4, 2, norm=UnifiedNorm, max_length=8, **options)


class Attending(nn.Module):
    """Two norms, of which one feeds the query and the other key and value; the mean over positions is read."""

    def __init__(self, bias: bool, kdim: int | None = None) -> None:
        super().__init__()
        other = kdim or WIDTH
        self.lift = nn.Linear(WIDTH, other)
        self.norm, self.memory_norm, self.last = UnifiedNorm(WIDTH), UnifiedNorm(other), UnifiedNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 4, bias=bias, batch_first=True, kdim=kdim, vdim=kdim)
        self.head = nn.Linear(WIDTH, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        memory = self.memory_norm(torch.tanh(self.lift(x.flip(1))))
        mask = torch.ones(7, 7).tril().log()
        y = x + self.attention(self.norm(x), memory, memory, attn_mask=mask)[0]
        return self.head(self.last(y).mean(1))


class Chosen(nn.Module):
    """The first position of the norm's output goes to one head, all of them to another and, dropped out, to a third."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = UnifiedNorm(WIDTH), nn.Dropout(0.5)
        self.first, self.all, self.third = nn.Linear(WIDTH, 2), nn.Linear(WIDTH, 3), nn.Linear(WIDTH, 4, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.norm(x)
        return self.first(y[:, 0]), self.all(y), self.third(self.drop(y)[..., 1:, :])


class OneChannel(nn.Module):
    """A map reads one channel of all positions, which are as many as the channels: not the last axis of the norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = UnifiedNorm(WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x)[:, :, 0, ...])


def test_an_index_of_the_last_axis_before_an_ellipsis_is_no_choice_of_positions() -> None:
    x = torch.randn(4, WIDTH, WIDTH)
    with pytest.raises(ConversionError, match="its output is read by __getitem__, which is no linear map"):
        convert(settled(OneChannel(), x), "fold", example=x)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "pre-norm language model": (lambda: language_model(placement="pre"), tokens),
    "attention": (lambda: Attending(bias=True), lambda: vectors()[0]),
    "attention without biases": (lambda: Attending(bias=False), lambda: vectors()[0]),
    "attention over another width": (lambda: Attending(bias=True, kdim=6), lambda: vectors()[0]),
    "choices of positions": (Chosen, lambda: vectors()[0]),
    "a norm in front": (lambda: nn.Sequential(UnifiedNorm(WIDTH), nn.Linear(WIDTH, 3)), lambda: vectors()[0]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_is_exact(name: str) -> None:
    build, data = NETWORKS[name]
    net = settled(build(), data())
    conversion = convert(net, "fold", example=data())
    assert conversion.max_rel_diff < 1e-12
    assert conversion.own_dtype["max_rel_diff"] < 1e-5
    assert not conversion.skipped
    assert not [module for module in conversion.model.modules() if isinstance(module, UnifiedNorm)]
    assert [path for path, module in net.named_modules() if isinstance(module, UnifiedNorm)] == [
        path for path, module in conversion.model.named_modules() if isinstance(module, nn.Identity)
    ]


def test_gpt2_is_folded_but_for_its_tied_head() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "n_positions": 16, "n_embd": WIDTH, "n_layer": 2, "n_head": 4}
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()
    batches = [{"input_ids": torch.randint(40, (2, 12))} for _ in range(3)]
    unified = convert(gpt2, "unified-norm", data=batches)
    assert len(unified.changes) == 5
    folded = convert(unified.model, "fold", data=batches)
    assert folded.max_rel_diff < 1e-12
    assert [entry["path"] for entry in folded.skipped] == ["transformer.ln_f"]
    assert "lm_head behind it is tied to another" in folded.skipped[0]["reason"]


def test_in_one_go_with_the_conversion() -> None:
    torch.manual_seed(1)
    net = Transformer(11, WIDTH, 4, 2, max_length=8).eval()
    conversion = convert(net, [ToUnifiedNorm(), "fold"], data=[tokens(), tokens().flip(0)])
    assert conversion.kind == "calibrated"
    assert not [module for module in conversion.model.modules() if isinstance(module, (UnifiedNorm, nn.LayerNorm))]


def test_torchs_encoder_is_folded() -> None:
    """Its fused path would look for the eps of a norm that is an Identity now."""
    torch.manual_seed(13)
    net = nn.Sequential(encoder(), nn.Linear(WIDTH, 3)).eval()
    folded = convert(convert(net, "unified-norm", data=vectors()).model, "fold", data=vectors())
    assert folded.max_rel_diff < 1e-12
    assert not folded.skipped


def test_a_power_norm_without_layer_scale_is_folded_and_with_it_refused() -> None:
    for groups in (0, 1):
        net = nn.Sequential(PowerNorm(WIDTH, group_num=groups), nn.Linear(WIDTH, 3)).train()
        net(vectors()[0])
        if groups:
            with pytest.raises(ConversionError, match="layer scale"):
                convert(net.eval(), "fold", data=vectors())
        else:
            assert convert(net.eval(), "fold", data=vectors()).max_rel_diff < 1e-12


class Summed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = UnifiedNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return y + self.linear(y)


class Returned(Summed):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.norm(x)
        return y, self.linear(y)


class AlongAnotherAxis(Summed):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x).mean(-1, keepdim=True).expand_as(x))


class Twice(Summed):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return self.linear(y) + self.linear(y * 2)


def shared_norm() -> nn.Module:
    norm = UnifiedNorm(WIDTH)
    return nn.Sequential(norm, nn.Linear(WIDTH, WIDTH), norm, nn.Linear(WIDTH, WIDTH))


def parametrised() -> nn.Module:
    return nn.Sequential(UnifiedNorm(WIDTH), weights.weight_standardization(nn.Linear(WIDTH, 3)))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Summed, "its output is read by add, which is no linear map"),
        (Returned, "its output is returned by the network as well"),
        (AlongAnotherAxis, "its output is read by mean, which is no linear map"),
        (Twice, "linear behind it runs several times"),
        (shared_norm, "it runs several times"),
        (parametrised, "parametrised: bake it first"),
        (lambda: nn.Sequential(UnifiedNorm(WIDTH), nn.GELU()), "stands 1, a GELU, which cannot take it"),
        (lambda: nn.Sequential(UnifiedNorm(WIDTH), nn.Conv1d(7, 2, 1)), "stands 1, a Conv1d, which cannot take it"),
    ],
)
def test_what_is_not_exact_is_refused(build: Callable[[], nn.Module], reason: str) -> None:
    net = settled(build(), vectors()[0])
    with pytest.raises(ConversionError, match=reason):
        convert(net, "fold", example=vectors()[0])


def test_of_a_post_norm_network_only_the_last_norm_is_folded() -> None:
    """The output of the others is the stream itself, which the next sum reads."""
    net = settled(language_model(placement="post"), tokens())
    conversion = convert(net, "fold", example=tokens())
    assert conversion.max_rel_diff < 1e-12
    assert isinstance(conversion.model.layers[1].norm2, nn.Identity)
    assert len(conversion.skipped) == 3
    assert all("read by add, which is no linear map" in entry["reason"] for entry in conversion.skipped)


def test_a_model_in_training_mode_is_refused() -> None:
    net = settled(language_model(), tokens()).train()
    with pytest.raises(ConversionError, match=r"in training mode, .* call model.eval\(\) first"):
        convert(net, "fold", example=tokens())


def test_a_norm_without_statistics_is_refused() -> None:
    with pytest.raises(ConversionError, match="has no statistics yet: train it, or fit it on data"):
        convert(language_model().eval(), "fold", example=tokens())


def test_frozen_weights_and_half_precision_are_kept() -> None:
    net = settled(nn.Sequential(UnifiedNorm(WIDTH), nn.Linear(WIDTH, 3, bias=False)), vectors()[0])
    net = net.bfloat16().requires_grad_(False)
    folded = convert(net, "fold", example=vectors()[0].bfloat16()).model
    assert folded[1].weight.dtype == folded[1].bias.dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in folded.parameters())
