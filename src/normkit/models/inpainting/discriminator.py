"""The patch discriminator of the paper: five spectrally normalised convolutions that judge each patch.

Source: Yu et al. 2020, arXiv:1911.10375, section 3.4; after EdgeConnect (Nazeri et al. 2019, arXiv:1901.00212).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["InpaintDiscriminator"]


class InpaintDiscriminator(nn.Module):
    """The probability that a patch is of a real picture, for patches in a grid.

    4×4 convolutions with padding 1, spectral norm and no bias, to w, 2w, 4w channels with stride 2, to 8w and 1 with
    stride 1; LeakyReLU 0.2 between.

    Args:
        width: w; the paper's is 64.

    Shape:
        (batch, 3, H, W) → (batch, 1, rows, columns); sides of at least 24 pixels.

    Raises:
        ValueError: in the call, a picture too small for one patch.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width, 8 * width, 1]
        strides = [2, 2, 2, 1, 1]
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(sizes, sizes[1:], strides, strict=False):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, 1, bias=False)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers[:-1])

    def logits(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 rows columns"]:
        """Log odds, which the losses take."""
        if min(images.shape[-2:]) < 24:
            raise ValueError(
                f"InpaintDiscriminator: a patch needs pictures of 24×24 pixels or more, got {images.shape[-2]}×"
                f"{images.shape[-1]}; train without the discriminator (--no-gan)"
            )
        return self.layers(images)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 rows columns"]:
        """Probabilities."""
        return torch.sigmoid(self.logits(images))
