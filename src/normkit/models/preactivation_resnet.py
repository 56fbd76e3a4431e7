"""A small pre-activation residual net, its normaliser and activation by factory."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["PreActivationBlock", "ResNet"]

Images = Float[Tensor, "batch channels height width"]
Factory = Callable[[int], nn.Module]


class PreActivationBlock(nn.Module):
    """y = x + conv(φ(norm(conv(φ(norm(x)))))): He et al. (2016), Identity Mappings in Deep Residual Networks, fig. 1b.

    Shapes: (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int, norm: Factory, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.norm1, self.act1 = norm(channels), activation()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2, self.act2 = norm(channels), activation()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Images) -> Images:
        """The block's output for a batch of feature maps."""
        y = self.conv1(self.act1(self.norm1(x)))
        return x + self.conv2(self.act2(self.norm2(y)))


class ResNet(nn.Module):
    """Stem conv3×3, `blocks` pre-activation blocks, norm, activation, global pooling, linear.

    The net of this project's layer experiment for Liu et al. (2020), Evolving Normalization-Activation Layers,
    arXiv:2004.02967: 16 channels, five blocks, average pooling by 2 after the third, a layer before the final pooling
    (as in the paper, which trains pre-activation ResNet-50 on ImageNet).

    Shapes: input (N, in_channels, H, W), H and W even where `pool_after` is set; output (N, num_classes).

    Args:
        norm: factory from a number of channels to a normaliser, or to a normaliser that brings its own activation
            (then `activation=nn.Identity`).
        activation: factory of the non-linearity.
        channels: width.
        blocks: residual blocks.
        in_channels: channels of the images.
        num_classes: width of the output.
        pool_after: which block the pooling follows (1 = the first); 0 or None for no pooling.
    """

    def __init__(
        self,
        norm: Factory = nn.BatchNorm2d,
        activation: Callable[[], nn.Module] = nn.ReLU,
        *,
        channels: int = 16,
        blocks: int = 5,
        in_channels: int = 1,
        num_classes: int = 10,
        pool_after: int | None = 3,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        for index in range(1, blocks + 1):
            self.blocks.append(PreActivationBlock(channels, norm, activation))
            if index == pool_after:
                self.blocks.append(nn.AvgPool2d(2))
        self.norm, self.act = norm(channels), activation()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Images) -> Float[Tensor, "batch classes"]:
        """Logits of a batch of images."""
        y = self.act(self.norm(self.blocks(self.stem(x))))
        return self.head(self.pool(y).flatten(1))
