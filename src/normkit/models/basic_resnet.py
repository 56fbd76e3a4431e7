"""A residual net as most people write it: conv – norm – ReLU, the sum, then ReLU again."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["BasicBlock", "BasicResNet", "resnet"]

Images = Float[Tensor, "batch channels height width"]
Factory = Callable[[int], nn.Module]


class BasicBlock(nn.Module):
    """y = ReLU(norm(conv(ReLU(norm(conv(x))))) + shortcut(x)): He et al. (2016), arXiv:1512.03385, fig. 2.

    The shortcut is the identity, or conv1×1 – norm where the width or the size changes (option B of the paper).

    Shapes: (N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, norm_layer: Factory = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = norm_layer(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = norm_layer(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), norm_layer(outputs)
            )

    def forward(self, x: Images) -> Float[Tensor, "batch outputs rows columns"]:
        """The block's output for a batch of feature maps."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class BasicResNet(nn.Module):
    """Stem, stages of basic blocks that halve the image and double the width, global pooling, linear.

    He et al. (2016), arXiv:1512.03385, section 4.2 (CIFAR: three stages of n blocks, widths 16, 32, 64; ResNet-20 is
    n = 3). One `relu` module a block is called twice, as in the usual implementations.

    Shapes: input (N, in_channels, H, W); output (N, num_classes).

    Args:
        blocks: blocks of each stage.
        width: channels of the first stage.
        in_channels: channels of the images.
        num_classes: width of the output.
        norm_layer: factory from a number of channels to a normaliser.

    Raises:
        ValueError: no stage, or a stage without a block.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 3, 3),
        width: int = 16,
        in_channels: int = 3,
        num_classes: int = 10,
        norm_layer: Factory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if not blocks or min(blocks) < 1:
            raise ValueError(f"blocks is {list(blocks)}: it needs at least one stage, and each a block at least")
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = norm_layer(width)
        self.relu = nn.ReLU(inplace=True)
        self.layers = nn.Sequential()
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            for stride in strides:
                self.layers.append(BasicBlock(inputs, outputs, stride, norm_layer))
                inputs = outputs
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, x: Images) -> Float[Tensor, "batch classes"]:
        """Logits of a batch of images."""
        y = self.layers(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.avgpool(y).flatten(1))


def resnet(depth: int = 20, *, width: int = 16, in_channels: int = 3, num_classes: int = 10) -> BasicResNet:
    """The CIFAR ResNet of `depth` = 6n + 2 layers with BatchNorm: images (N, in_channels, H, W) to (N, num_classes).

    Source: He et al. (2016), arXiv:1512.03385, section 4.2; width 16 is the paper's.

    Raises:
        ValueError: `depth` is not 6n + 2.
    """
    return BasicResNet([blocks_of(depth)] * 3, width, in_channels, num_classes)


def blocks_of(depth: int) -> int:
    """Blocks in each of the three stages of a net of `depth` layers."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth is {depth}: three stages of n two-layer blocks make 6n + 2 layers (8, 14, 20, 32, …)")
    return (depth - 2) // 6
