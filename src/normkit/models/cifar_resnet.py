"""The residual net of the BatchNorm-only experiments, with the parameter names of their published code."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from normkit.models.basic_resnet import blocks_of

__all__ = ["CIFARBlock", "CIFARResNet", "cifar_resnet"]

Images = Float[Tensor, "batch channels height width"]


class CIFARBlock(nn.Module):
    """y = ReLU(bn2(conv2(ReLU(bn1(conv1(x))))) + shortcut(x)); the shortcut is conv1×1 – bn where the shape changes.

    Source: He et al. (2016), arXiv:1512.03385, fig. 2 and option B.

    Shapes: (N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Images) -> Float[Tensor, "batch outputs rows columns"]:
        """The block's output for a batch of feature maps."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class CIFARResNet(nn.Module):
    """conv3×3 – bn – ReLU, three stages of `blocks` blocks with widths W, 2W, 4W, global average pooling, linear.

    Names as in the published code of Frankle et al. (2021), arXiv:2003.00152: `conv`, `bn`,
    `blocks.i.{conv1,bn1,conv2,bn2,shortcut.0,shortcut.1}`, `fc`, so that its checkpoints load. The normalisers hold
    14·W·(1 + 2·blocks) affine parameters.

    Shapes: input (N, in_channels, H, W); output (N, num_classes).

    Args:
        blocks: D, blocks of each stage; the depth is 6D + 2.
        width: W.
        in_channels: channels of the images.
        num_classes: width of the output.
        stem_stride: stride of the first convolution, 1 in the paper.

    Raises:
        ValueError: `blocks` or `width` is below 1.
    """

    def __init__(
        self, blocks: int = 2, width: int = 16, in_channels: int = 3, num_classes: int = 10, stem_stride: int = 1
    ) -> None:
        super().__init__()
        if blocks < 1 or width < 1:
            raise ValueError(f"blocks is {blocks} and width is {width}: both must be at least 1")
        self.conv = nn.Conv2d(in_channels, width, 3, stride=stem_stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential()
        inputs = width
        for stage in range(3):
            outputs = width * 2**stage
            for index in range(blocks):
                self.blocks.append(CIFARBlock(inputs, outputs, 2 if stage > 0 and index == 0 else 1))
                inputs = outputs
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, x: Images) -> Float[Tensor, "batch classes"]:
        """Logits of a batch of images."""
        y = self.blocks(F.relu(self.bn(self.conv(x))))
        return self.fc(y.mean((2, 3)))


def cifar_resnet(depth: int = 14, width: int = 16, *, in_channels: int = 3, num_classes: int = 10) -> CIFARResNet:
    """`CIFARResNet` of `depth` = 6D + 2 layers: images (N, in_channels, H, W) to logits (N, num_classes).

    Source: Frankle et al. (2021), arXiv:2003.00152, section 3: depths 14, 32, 56, 110, 218, 434 and 866.

    Raises:
        ValueError: `depth` is not 6D + 2.
    """
    return CIFARResNet(blocks_of(depth), width, in_channels, num_classes)
