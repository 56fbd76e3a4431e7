"""MobileNetV2 with the parameter names of torchvision's, so that its checkpoints load, and its ImageNet weights."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit import data

__all__ = ["ConvNormReLU6", "InvertedResidual", "MobileNetV2", "mobilenet_v2"]

Images = Float[Tensor, "batch channels height width"]
Factory = Callable[[int], nn.Module]

# expansion t, channels c, blocks n, stride s of the first block: table 2 of the paper
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM, _HEAD = 32, 1280


class ConvNormReLU6(nn.Sequential):
    """y = ReLU6(norm(conv(x))): modules 0, 1 and 2; the convolution keeps the size at stride 1 and has no bias.

    Source: Sandler et al. (2018), arXiv:1801.04381, table 1.

    Shapes: (N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        norm_layer: Factory = nn.BatchNorm2d,
    ) -> None:
        padding = (kernel_size - 1) // 2
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel_size, stride, padding, groups=groups, bias=False),
            norm_layer(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Widen `expansion` times by 1×1, convolve each channel 3×3, narrow by 1×1 without a non-linearity; add x.

    x is added where the shape stays. An expansion of 1 leaves the first convolution out.

    Source: Sandler et al. (2018), arXiv:1801.04381, section 3.3 and table 1.

    Shapes: (N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉).
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, expansion: int, norm_layer: Factory = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.conv = nn.Sequential()
        if expansion != 1:
            self.conv.append(ConvNormReLU6(inputs, wide, 1, norm_layer=norm_layer))
        self.conv.append(ConvNormReLU6(wide, wide, 3, stride, groups=wide, norm_layer=norm_layer))
        self.conv.append(nn.Conv2d(wide, outputs, 1, bias=False))
        self.conv.append(norm_layer(outputs))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Images) -> Float[Tensor, "batch outputs rows columns"]:
        """The block's output for a batch of feature maps."""
        y = self.conv(x)
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """Stem 3×3 of stride 2, seventeen inverted residuals, 1×1 to 1280 channels, global mean, dropout, linear.

    `features.0` to `features.18` and `classifier.1` are named as in torchvision, whose checkpoints load. At width 1
    with 1,000 classes it holds 3,504,872 parameters and 52 normalisers. `features` shrinks an image 32 times;
    `model.features(x).mean((2, 3))` are the 1,280 pooled features.

    Source: Sandler, Howard, Zhu, Zhmoginov, Chen (2018), arXiv:1801.04381, table 2.

    Shapes: input (N, in_channels, H, W); output (N, num_classes).

    Args:
        num_classes: width of the output.
        width_mult: multiplies every number of channels, rounded to a multiple of 8; the last one is 1,280 at least.
        dropout: share of the pooled features that training drops.
        in_channels: channels of the images.
        norm_layer: factory from a number of channels to a normaliser.

    Raises:
        ValueError: `width_mult` or a number of channels or classes is not positive.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float | int = 1.0,
        dropout: float | int = 0.2,
        *,
        in_channels: int = 3,
        norm_layer: Factory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        for name, value in (("num_classes", num_classes), ("width_mult", width_mult), ("in_channels", in_channels)):
            if value <= 0:
                raise ValueError(f"{name} is {value}: it must be positive")
        inputs = _channels(_STEM * width_mult)
        self.features = nn.Sequential(ConvNormReLU6(in_channels, inputs, stride=2, norm_layer=norm_layer))
        for expansion, channels, blocks, stride in _STAGES:
            outputs = _channels(channels * width_mult)
            for index in range(blocks):
                step = stride if index == 0 else 1
                self.features.append(InvertedResidual(inputs, outputs, step, expansion, norm_layer))
                inputs = outputs
        last = _channels(_HEAD * max(1.0, width_mult))
        self.features.append(ConvNormReLU6(inputs, last, 1, norm_layer=norm_layer))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He's initialisation of the convolutions by their outputs, N(0, 0.01²) for the linear layer."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Images) -> Float[Tensor, "batch classes"]:
        """Logits of a batch of images."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _channels(wanted: float | int) -> int:
    """The multiple of 8 nearest to `wanted`, never more than a tenth below it."""
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * wanted else nearest + 8


def mobilenet_v2(weights: str | None = None, *, download: bool = False) -> MobileNetV2:
    """`MobileNetV2` of width 1 and 1,000 classes, in training mode: images (N, 3, H, W) to logits (N, 1000).

    Args:
        weights: None for fresh ones, or "imagenet" for torchvision's, which are looked for where data sets are
            (`normkit.data.pretrained`). Those want colors in 0…1 less (0.485, 0.456, 0.406), over
            (0.229, 0.224, 0.225).
        download: fetch them into the data folder where they are not there.

    Raises:
        ValueError: `weights` is something else.
        DataNotFound: the weights are not on this machine; the message says how to get them.

    Source: Sandler et al. (2018), arXiv:1801.04381; weights IMAGENET1K_V1 of torchvision, 71.878 % top-1.
    """
    if weights not in (None, "imagenet"):
        raise ValueError(f"weights is {weights!r}: give None or 'imagenet'; load others with load_state_dict")
    model = MobileNetV2()
    if weights is not None:
        found = data.pretrained("mobilenetv2", download=download)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in found.items()})
    return model
