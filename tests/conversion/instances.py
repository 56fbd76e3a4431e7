"""For each rule a network that it converts, with data: what the contract test and the rules' own tests share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PATIENTS", "Patient", "conv_net", "encoder", "excite", "images", "residual_net", "vectors"]


@dataclass(frozen=True)
class Patient:
    """A network and batches that it takes.

    `reachable` is, for a calibrated rule, a network whose function on its data the new layers can compute exactly, so
    that a fit must find it; why they can stands where it is built.
    """

    build: Callable[[], nn.Module]
    data: Callable[[], list[Tensor]]
    reachable: "Patient | None" = None


def excite(model: nn.Module, spread: float = 0.3) -> nn.Module:
    """Give every norm random, non-trivial weights and biases."""
    generator = torch.Generator().manual_seed(7)
    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)):
            for name, centre in (("weight", 1.0), ("bias", 0.0)):
                parameter = getattr(module, name)
                if parameter is not None:
                    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.data.copy_(centre + spread * noise)
    return model


def images(batches: int = 3, size: int = 8, channels: int = 1) -> list[Tensor]:
    """Batches (6, channels, size, size) of smooth random images whose mean is not 0."""
    generator = torch.Generator().manual_seed(3)
    raw = torch.randn(batches, 6, channels, size, size, generator=generator)
    return [F.avg_pool2d(batch, 3, 1, 1) * 3 + 0.5 for batch in raw]


def vectors(width: int = 16) -> list[Tensor]:
    """Batches (3, 7, width)."""
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(3, 7, width, generator=generator) + 0.3 for _ in range(2)]


def _settled(model: nn.Module, data: list[Tensor]) -> nn.Module:
    """Running statistics as after some training."""
    model.train()
    with torch.no_grad():
        for _ in range(10):
            for batch in data:
                model(batch)
    return model


def conv_net() -> nn.Module:
    """Convolution, BatchNorm, ReLU, twice; as users write it in a Sequential."""
    torch.manual_seed(11)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 12, 3),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
    return _settled(excite(net), images())


class Block(nn.Module):
    """A residual block as torchvision writes it: one ReLU module for two places, and a projection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            None if inputs == outputs else nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + identity)


class ResidualNet(nn.Module):
    """A stem with a functional ReLU, and two residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8, 8), Block(8, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)))
        return self.head(self.blocks(x).mean((2, 3)))


def residual_net() -> nn.Module:
    """A residual network as users write it."""
    torch.manual_seed(12)
    return _settled(excite(ResidualNet()), images())


def encoder(
    layers: int = 2, *, batch_first: bool = True, bias: bool = True, norm_first: bool = True, norm: bool = True
) -> nn.Module:
    """torch's own Pre-LN encoder, width 16."""
    torch.manual_seed(13)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=batch_first, bias=bias, norm_first=norm_first)
    final = nn.LayerNorm(16, bias=bias) if norm else None
    return excite(nn.TransformerEncoder(layer, layers, norm=final, enable_nested_tensor=False))


def shuffled_images() -> list[Tensor]:
    """One image, its pixels in another order in each sample: what a pointwise net makes of it has the same moments."""
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(3, 16, generator=generator, dtype=torch.float64) + 0.4
    orders = [torch.randperm(16, generator=generator) for _ in range(12)]
    return list(torch.stack([image[:, order] for order in orders]).unflatten(2, (4, 4)).split(6))


def even_images() -> list[Tensor]:
    """Images of one colour each, 6 and their negatives: no variance within an image, and mean 0 over all of them."""
    colours = torch.randn(6, 3, 1, 1, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return [part.repeat(1, 1, 4, 4) for part in (colours, -colours)]


def pointwise(act: nn.Module, data: list[Tensor], gains: tuple[float, ...], shift: float) -> nn.Module:
    """1 × 1 convolution, BatchNorm, activation, twice, in float64.

    Filters have mean 0, so that they are blind to a shift that all channels have, and outputs of spread 1 on the data.
    The BatchNorm is y = g x + shift.
    """
    torch.manual_seed(14)
    net = nn.Sequential()
    for inputs, outputs in ((3, 8), (8, 12)):
        conv, norm = nn.Conv2d(inputs, outputs, 1, bias=False).double(), nn.BatchNorm2d(outputs).double()
        with torch.no_grad():
            conv.weight -= conv.weight.mean(1, keepdim=True)
            norm.weight.copy_(torch.tensor(gains).repeat(outputs)[:outputs])
            norm.bias.fill_(shift)
            conv.weight /= conv(net(torch.cat(data))).std((0, 2, 3), correction=0).view(-1, 1, 1, 1)
            norm.running_var.fill_(1 - norm.eps)
        net.extend([conv, norm.eval(), act])
    return net


def affine_net() -> nn.Module:
    """All samples have the same moments: a norm of groups or samples is an affine map of each channel, as the old one.

    The filters have mean 0: standardisation takes nothing from them but their scale.
    """
    return pointwise(nn.ReLU(), shuffled_images(), (1.0, 0.5, -2.0), 0.3)


def gated_net() -> nn.Module:
    """SiLU(g x) is g x·σ(g x), with v = g on the grid of S0, and the deviation that it divides by is one for all."""
    return pointwise(nn.SiLU(), shuffled_images(), (1.0, 0.5, 2.0, -1.0), 0.0)


def open_net() -> nn.Module:
    """Of 12 values with mean 0 and spread 1 none is beyond √11, so the norm's x + 5 is positive and ReLU the identity.

    With v = 0.25, B0's v x + sqrt(0 + ε) stays below 0.83 + 0.04 for its ε = 0.001, so that its maximum is the batch's
    deviation and its output γ x + β.
    """
    return pointwise(nn.ReLU(), even_images(), (1.0,), 5.0)


def shuffled_vectors() -> list[Tensor]:
    """One vector, its entries in another order at each position: LayerNorm finds the same moments everywhere."""
    generator = torch.Generator().manual_seed(8)
    vector = torch.randn(16, generator=generator, dtype=torch.float64) * 2 + 0.7
    return [torch.stack([vector[torch.randperm(16, generator=generator)] for _ in range(21)]).view(3, 7, 16)] * 2


def normed_map() -> nn.Module:
    """LayerNorm and a linear map, in float64: on vectors that all have the same moments the norm is affine."""
    torch.manual_seed(15)
    return excite(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 5), nn.Tanh())).double()


def centred_encoder() -> nn.Module:
    """A stream whose positions have no mean is read alike by LayerNorm and by PowerNorm's layer scale.

    ε is large, so that the two roots of a PowerNorm that is not fitted divide by more than one LayerNorm does.
    """
    torch.manual_seed(15)
    layer = nn.TransformerEncoderLayer(16, 4, 32, layer_norm_eps=0.2, batch_first=True, norm_first=True)
    net = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16, eps=0.2), enable_nested_tensor=False).double()
    for writer in [part for block in net.layers for part in (block.self_attn.out_proj, block.linear2)]:
        with torch.no_grad():
            writer.weight -= writer.weight.mean(0)
            writer.bias -= writer.bias.mean()
    return excite(net)


def centred_vectors() -> list[Tensor]:
    """Positions without mean, in float64."""
    return [batch.double() - batch.double().mean(-1, keepdim=True) for batch in vectors()]


def swish_net() -> nn.Module:
    """SiLU(x) is x·σ(x), what S1 and S2 divide by one number for all samples."""
    return pointwise(nn.SiLU(), shuffled_images(), (1.0,), 0.0)


def two_images() -> list[Tensor]:
    """One colour and its negative: every channel has two values, and of two values any function is affine."""
    colour = torch.randn(3, 1, 1, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return [sign * colour.repeat(6, 1, 4, 4) for sign in (1, -1)]


def two_valued_net() -> nn.Module:
    """The norm's x + 5 and what ReLU leaves of it are affine in what B1 and B2 make of the two values."""
    return pointwise(nn.ReLU(), two_images(), (1.0,), 5.0)


_AFFINE = Patient(affine_net, shuffled_images)

PATIENTS: dict[str, Patient] = {
    "affine-only": Patient(residual_net, images),
    "batch-channel-norm": Patient(conv_net, images, _AFFINE),
    "evonorm-b0": Patient(residual_net, images, Patient(open_net, even_images)),
    "evonorm-b1": Patient(residual_net, images, Patient(two_valued_net, two_images)),
    "evonorm-b2": Patient(residual_net, images, Patient(two_valued_net, two_images)),
    "evonorm-s1": Patient(residual_net, images, Patient(swish_net, shuffled_images)),
    "evonorm-s2": Patient(residual_net, images, Patient(swish_net, shuffled_images)),
    "evonorm-s0": Patient(residual_net, images, Patient(gated_net, shuffled_images)),
    "fold": Patient(residual_net, images),
    "group-norm": Patient(conv_net, images, _AFFINE),
    "powernorm": Patient(lambda: encoder(norm_first=False), vectors, Patient(centred_encoder, centred_vectors)),
    "peri-ln": Patient(encoder, vectors),
    "pre-crmsnorm": Patient(encoder, vectors),
    "pre-rmsnorm": Patient(encoder, vectors),
    "unified-norm": Patient(encoder, vectors, Patient(normed_map, shuffled_vectors)),
    "weight-standardization": Patient(residual_net, images, _AFFINE),
}
