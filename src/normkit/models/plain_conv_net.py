"""A deep convolutional net without shortcuts, in which normalisation is all that holds the signal."""

from collections import OrderedDict
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["PlainConvNet"]


class PlainConvNet(nn.Module):
    """conv3×3 – norm – activation, `depth` + 1 times, then global average pooling and a linear map.

    The net of this project's micro-batch experiment for Qiao et al. (2020), Micro-Batch Training with Batch-Channel
    Normalization and Weight Standardization, arXiv:1903.10520: 16 channels, a stem and ten more convolutions without
    bias, average pooling by 2 after the sixth of the ten. The paper itself trains ResNets on ImageNet.

    Shapes: input (N, in_channels, H, W), H and W even where `pool_after` is set; output (N, num_classes).

    Args:
        norm: factory from a number of channels to a module; `nn.Identity`-like ones are fine.
        channels: width of every convolution.
        depth: convolutions after the stem.
        in_channels: channels of the images.
        num_classes: width of the output.
        pool_after: which of the `depth` convolutions the pooling follows (1 = the first); 0 or None for no pooling.
        activation: factory of the non-linearity; `nn.Identity` where the norm brings its own.
    """

    def __init__(
        self,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        *,
        channels: int = 16,
        depth: int = 10,
        in_channels: int = 1,
        num_classes: int = 10,
        pool_after: int | None = 6,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index in range(depth + 1):
            inputs = in_channels if index == 0 else channels
            layers[f"conv{index}"] = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
            layers[f"norm{index}"] = norm(channels)
            layers[f"act{index}"] = activation()
            if index and index == pool_after:
                layers["pool"] = nn.AvgPool2d(2)
        self.features = nn.Sequential(layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of a batch of images."""
        return self.head(self.pool(self.features(x)).flatten(1))
