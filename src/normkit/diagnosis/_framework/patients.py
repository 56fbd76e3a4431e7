"""Networks and tables whose pathologies are known because they were built in: what the probes are judged by.

Each patient declares the whole *set* of pathologies that it has. A probe must say `act` on exactly the patients whose
set holds it, and be silent on all others. Sickness is made by construction, not by training towards a wanted outcome: a
batch of one, shifts β that shut channels, writers scaled up, statistics in half precision.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit import data
from normkit.models import (
    PlainConvNet,
    RecurrentClassifier,
    ResNet,
    SequenceBatchNorm,
    Transformer,
    VisionTransformer,
)
from normkit.models.inpainting import InpaintGenerator
from normkit.nn import BatchChannelNorm2d, EvoNorm2dS0, LayerNormRNN, PowerNorm
from normkit.training import fit
from normkit.weights import weight_standardization

__all__ = ["PATIENTS", "HalfLayerNorm", "Patient"]

_WIDTH, _LENGTH, _VOCABULARY = 48, 32, 64


@dataclass(frozen=True)
class Patient:
    """A network and the data it is examined on, or a table, and every pathology that it has.

    Attributes:
        name: what it is, in a few words.
        has: slugs of the probes that must say `act`; all others must not.
        build: makes the model and its data anew, from a seed; or a table and None.
        max_batches: how many of its batches the examination looks at.
    """

    name: str
    has: frozenset[str]
    build: Callable[[int], tuple[Any, Iterable[Any] | None]]
    max_batches: int = 8


class HalfLayerNorm(nn.Module):
    """LayerNorm as it must not be written: E[x²] − E[x]² in the input's own half precision. (…, d) → (…, d)."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width)), eps

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The normalised input."""
        mean = x.mean(-1, keepdim=True)
        variance = (x * x).mean(-1, keepdim=True) - mean * mean
        return (x - mean) * (variance.clamp_min(0) + self.eps).rsqrt() * self.weight + self.bias


def _digits(batch: int) -> Iterable[Any]:
    x, y, _, _ = data.digits()
    return data.batches(x, y, batch, seed=0, drop_last=True)


def _convnet(norm: Callable[[int], nn.Module], seed: int, *, steps: int = 60, **options: Any) -> nn.Module:
    """A small plain net that has seen its running statistics: `steps` steps at batch 128."""
    torch.manual_seed(seed)
    model = PlainConvNet(norm, depth=6, pool_after=3, **options)
    if steps:
        fit(model, _digits(128), optimizer=lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), steps=steps, seed=seed)
    return model


def _batch_norm(batch: int) -> Callable[[int], tuple[nn.Module, Iterable[Any]]]:
    return lambda seed: (_convnet(nn.BatchNorm2d, seed), _digits(batch))


def _residual(seed: int) -> tuple[nn.Module, Iterable[Any]]:
    torch.manual_seed(seed)
    model = ResNet()
    fit(model, _digits(128), optimizer=lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), steps=40, seed=seed)
    return model, _digits(128)


def _estimates(seed: int) -> tuple[nn.Module, Iterable[Any]]:
    model = _convnet(lambda channels: BatchChannelNorm2d(channels, 4, speed=0.01), seed, steps=0)
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d):
            weight_standardization(module)
    fit(model, _digits(1), optimizer=lambda p: torch.optim.SGD(p, lr=0.0015, momentum=0.9), steps=150, seed=seed)
    return model, _digits(1)


def _evonorm(seed: int) -> tuple[nn.Module, Iterable[Any]]:
    model = _convnet(lambda channels: EvoNorm2dS0(channels, groups=4), seed, steps=0, activation=nn.Identity)
    return model, _digits(1)


def _eliminated(seed: int) -> tuple[nn.Module, Iterable[Any]]:
    """In every third layer, β shuts one quarter of the channels and opens another for ever."""
    model = _convnet(nn.BatchNorm2d, seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms[::3]:
            quarter = norm.num_features // 4
            norm.bias[:quarter] = -6 * norm.weight[:quarter].abs()
            norm.bias[quarter : 2 * quarter] = 6 * norm.weight[quarter : 2 * quarter].abs()
    return model, _digits(128)


def _tokens(seed: int) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(_VOCABULARY, (4, 8, _LENGTH + 1), generator=generator)
    return [(each[:, :-1], each[:, 1:]) for each in ids]


def _transformer(**options: Any) -> Callable[[int], tuple[nn.Module, Iterable[Any]]]:
    def build(seed: int) -> tuple[nn.Module, Iterable[Any]]:
        torch.manual_seed(seed)
        return Transformer(_VOCABULARY, _WIDTH, 4, 6, max_length=_LENGTH, **options), _tokens(seed)

    return build


def _single_windows(norm: Callable[[int], nn.Module]) -> Callable[[int], tuple[nn.Module, Iterable[Any]]]:
    """A Post-norm transformer whose batches are one window each."""

    def build(seed: int) -> tuple[nn.Module, Iterable[Any]]:
        model, batches = _transformer(placement="post", norm=norm)(seed)
        return model, [(x[i : i + 1], y[i : i + 1]) for x, y in batches for i in range(len(x))]

    return build


def _seeing(*, spiked: bool) -> Callable[[int], tuple[nn.Module, Iterable[Any]]]:
    """A Post-LN vision transformer; where spiked, two images of every eighth batch are 50 times too large."""

    def build(seed: int) -> tuple[nn.Module, Iterable[Any]]:
        torch.manual_seed(seed)
        batches = []
        for number, (images, labels) in zip(range(8), _digits(32), strict=False):
            scale = torch.ones(len(images), 1, 1, 1)
            if spiked and number == 5:
                scale[:2] = 50.0
            batches.append((images * scale, labels))
        return VisionTransformer(placement="post"), batches

    return build


def _grown(seed: int) -> tuple[nn.Module, Iterable[Any]]:
    """Pre-LN whose MLPs write twenty times what a normalised branch would, as after training at too high a rate."""
    model, tokens = _transformer(placement="pre")(seed)
    with torch.no_grad():
        for module in model.modules():
            writer = getattr(module, "linear2", None)
            if isinstance(writer, nn.Linear):
                writer.weight.mul_(1000.0)
    return model, tokens


def _half(norm: Callable[[int], nn.Module]) -> Callable[[int], tuple[nn.Module, Iterable[Any]]]:
    """Three normalised layers in bfloat16, on inputs whose mean is ten times their deviation."""

    def build(seed: int) -> tuple[nn.Module, Iterable[Any]]:
        torch.manual_seed(seed)
        width = 64
        layers = [part for _ in range(3) for part in (norm(width), nn.Linear(width, width), nn.GELU())]
        model = nn.Sequential(*layers, nn.Linear(width, 10)).bfloat16()
        x = (torch.randn(4, 128, width) + 10).bfloat16()
        return model, [(each, torch.arange(128) % 10) for each in x]

    return build


def _reading(*, normalized: bool) -> Callable[[int], tuple[nn.Module, Iterable[Any]]]:
    """A tanh network that reads digits as 32 steps of 2 pixels, its recurrent matrix four times an orthogonal one."""

    def build(seed: int) -> tuple[nn.Module, Iterable[Any]]:
        torch.manual_seed(seed)
        layer = nn.RNN(2, 64, batch_first=True)
        nn.init.orthogonal_(layer.get_parameter("weight_hh_l0"), gain=4.0)
        model = RecurrentClassifier(LayerNormRNN.from_torch(layer) if normalized else layer)
        return model, [(x.flatten(1).unflatten(1, (-1, 2)), y) for x, y in islice(_digits(32), 8)]

    return build


def _inpainting(norm: str) -> Callable[[int], tuple[nn.Module, Iterable[Any]]]:
    """A small inpainting net on smooth pictures, a third of whose pixels is a hole filled with white."""

    def build(seed: int) -> tuple[nn.Module, Iterable[Any]]:
        torch.manual_seed(seed)
        model = InpaintGenerator(width=16, blocks=2, norm=norm, downs=1, kernel_size=5, init_scale=1.0)
        coarse = torch.rand(4, 32, 3, 6, 6)
        pictures = [nn.functional.interpolate(each, size=24, mode="bicubic").clamp(0, 1) for each in coarse]
        return model, [
            {"images": x, "masks": data.random_masks(len(x), 24, "rectangle", (0.25, 0.4))} for x in pictures
        ]

    return build


def _table(*, closed: bool) -> Callable[[int], tuple[Any, None]]:
    """Forty rows of eight amounts, independent of each other; or their shares of the row's total, in per cent."""

    def build(seed: int) -> tuple[Any, None]:
        amounts = torch.randn(40, 8, generator=torch.Generator().manual_seed(seed)).mul(0.5).exp().double().numpy()
        return (100 * amounts / amounts.sum(1, keepdims=True) if closed else amounts), None

    return build


def _patients() -> tuple[Patient, ...]:
    def of(name: str, build: Any, *has: str, batches: int = 8) -> Patient:
        return Patient(name, frozenset(has), build, batches)

    return (
        of("plain BN net, batch 1", _batch_norm(1), "batch-noise", batches=128),
        of("plain BN net, batch 2", _batch_norm(2), "batch-noise", batches=64),
        of("plain BN net, batch 128", _batch_norm(128)),
        of("residual BN net, batch 128", _residual),
        of("batch-channel norm + WS, batch 1", _estimates, batches=128),
        of("EvoNorm-S0 net, batch 1", _evonorm, batches=128),
        of("BN net with shut and open channels", _eliminated, "elimination"),
        of("Pre-LN transformer", _transformer(placement="pre"), "redundant-mean"),
        of("Pre-LN transformer, grown", _grown, "redundant-mean", "variance-growth"),
        of("Pre-RMSNorm transformer", _transformer(placement="pre", norm="rms")),
        of("Post-LN transformer", _transformer(placement="post")),
        of("Peri-LN transformer", _transformer(placement="peri")),
        of("BN transformer, batch 1", _single_windows(SequenceBatchNorm), "batch-noise", batches=32),
        of("PowerNorm transformer, batch 1", _single_windows(lambda d: PowerNorm(d, warmup_iters=0)), batches=32),
        of("vision transformer", _seeing(spiked=False)),
        of("vision transformer, outlier batches", _seeing(spiked=True), "outlier-fluctuation"),
        of("bfloat16 net, statistics in bfloat16", _half(HalfLayerNorm), "precision"),
        of("bfloat16 net, statistics in float32", _half(nn.LayerNorm)),
        of("inpainting net with InstanceNorm", _inpainting("in"), "masked-region"),
        of("inpainting net with region norm", _inpainting("rn")),
        of("table of percentages", _table(closed=True), "closed-rows"),
        of("table of amounts", _table(closed=False)),
        of("tanh network, large recurrent weights", _reading(normalized=False), "hidden-dynamics"),
        of("layer-normalised tanh network, large recurrent weights", _reading(normalized=True)),
    )


PATIENTS: tuple[Patient, ...] = _patients()
"""Sick and healthy networks and tables; every probe finds itself in at least one set, and most of them in few."""
