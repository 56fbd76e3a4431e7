"""For each rule a network that it converts, with data: what the contract test and the rules' own tests share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PATIENTS", "Patient", "conv_net", "encoder", "excite", "images", "residual_net", "vectors"]


@dataclass(frozen=True)
class Patient:
    """A network and batches that it takes."""

    build: Callable[[], nn.Module]
    data: Callable[[], list[Tensor]]


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


PATIENTS: dict[str, Patient] = {
    "batch-channel-norm": Patient(conv_net, images),
    "evonorm-b0": Patient(residual_net, images),
    "evonorm-s0": Patient(residual_net, images),
    "fold": Patient(residual_net, images),
    "group-norm": Patient(conv_net, images),
    "pre-crmsnorm": Patient(encoder, vectors),
    "pre-rmsnorm": Patient(encoder, vectors),
    "weight-standardization": Patient(residual_net, images),
}
