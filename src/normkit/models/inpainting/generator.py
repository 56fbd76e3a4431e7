"""The inpainting network of the paper: an encoder that is given the mask, dilated residual blocks, a decoder.

Source: Yu et al. 2020, "Region Normalization for Image Inpainting", arXiv:1911.10375, section 3.4; the base network is
that of EdgeConnect (Nazeri et al. 2019, arXiv:1901.00212).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.nn import RNB, RNL

__all__ = ["NORMS", "InpaintGenerator"]

Images = Float[Tensor, "batch 3 height width"]

NORMS: dict[str, tuple[Callable[[int, str], nn.Module], Callable[[int, str], nn.Module]]] = {
    "rn": (lambda channels, style: RNB(channels, style), lambda channels, style: RNL(channels, style=style)),
    "in": (lambda channels, style: nn.InstanceNorm2d(channels, affine=True),) * 2,
    "bn": (lambda channels, style: nn.BatchNorm2d(channels, track_running_stats=False),) * 2,
    "none": (lambda channels, style: nn.Identity(),) * 2,
}
"""By name: the normaliser of the early layers and that of the later ones, from channels and style."""


class InpaintGenerator(nn.Module):
    """A picture with holes and the mask of the holes in, the whole picture out; values in 0…1.

    Holes are filled with 1. Encoder: a k×k convolution and `downs` strided ones, each with the early norm (RN-B, which
    is given the mask) and ReLU. Then `blocks` residual blocks with dilation 2 and the later norm (RN-L), and as many
    pixel shuffles back up. The output is (tanh + 1)/2. The defaults are the paper's; `width=16, blocks=2, downs=1,
    kernel_size=5, init_scale=1` learns something in half a minute on a CPU.

    Args:
        width: channels of the first layer.
        blocks: residual blocks.
        norm: "rn" (RN-B early, RN-L late), "in" (InstanceNorm with gain and shift), "bn" (BatchNorm by the batch at
            hand, in evaluation too), "none".
        style: of "rn", "instance" or "batch".
        downs: how often the encoder halves the picture.
        kernel_size: k of the first and the last convolution, odd.
        init_scale: factor on the Kaiming normal initialisation of the convolutions (the paper's code: 0.1); their
            biases start at 0. RN-L keeps its own initialisation.

    Shape:
        images (batch, 3, H, W) in 0…1 and masks (batch, 1, H, W), 1 or true in the hole, → (batch, 3, H, W). H and W
        are multiples of 2^downs.

    Raises:
        ValueError: an unknown norm, a number below its least value; in the call, sides that are no multiples of
            2^downs or too short for the convolutions, or a mask that does not fit.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 8,
        norm: str = "rn",
        style: str = "instance",
        downs: int = 2,
        kernel_size: int = 7,
        init_scale: float = 0.1,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"InpaintGenerator: norm is one of {', '.join(map(repr, NORMS))}, not {norm!r}")
        if width < 1 or blocks < 0 or downs < 0 or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"InpaintGenerator: width={width}, blocks={blocks}, downs={downs}, kernel_size={kernel_size}; width is "
                "at least 1, the counts are at least 0, and the kernel is odd"
            )
        self.downs = downs
        self.options: dict[str, Any] = {
            "width": width,
            "blocks": blocks,
            "norm": norm,
            "style": style,
            "downs": downs,
            "kernel_size": kernel_size,
            "init_scale": init_scale,
        }
        early, late = ((lambda channels, make=make: make(channels, style)) for make in NORMS[norm])
        self.encoder = nn.ModuleList([_first(3, width, kernel_size, early)])
        channels = width
        for _ in range(downs):
            self.encoder.append(_down(channels, 2 * channels, early))
            channels *= 2
        self.middle = nn.Sequential(*(_Residual(channels, late) for _ in range(blocks)))
        self.decoder = nn.Sequential()
        for _ in range(downs):
            self.decoder.append(_Up(channels, late))
            channels //= 2
        self.last = nn.Conv2d(width, 3, kernel_size, padding=kernel_size // 2, padding_mode="reflect")
        self.init_scale = init_scale
        self.least_side = max(kernel_size // 2 + 1, 3 * 2**downs if blocks else 1)  # a mirror needs more than it pads
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming normal times `init_scale`, biases 0; the norms by their own rule."""
        norms = [module for module in self.modules() if isinstance(module, RNL)]
        inside = {part for norm in norms for part in norm.modules()}
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in inside:
                nn.init.kaiming_normal_(module.weight)
                with torch.no_grad():
                    module.weight.mul_(self.init_scale)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for norm in norms:
            norm.reset_parameters()

    def forward(self, images: Images, masks: Shaped[Tensor, "batch 1 height width"]) -> Images:
        """The network's picture; outside of the holes too, where the caller keeps the original."""
        step = 2**self.downs
        if images.shape[-2] % step or images.shape[-1] % step:
            raise ValueError(
                f"InpaintGenerator: the sides must be multiples of {step}, got {images.shape[-2]}×{images.shape[-1]}; "
                "crop or pad the picture"
            )
        if min(images.shape[-2:]) < self.least_side:
            raise ValueError(
                f"InpaintGenerator: a side needs {self.least_side} pixels or more, for the mirrored edges of the "
                f"convolutions, got {images.shape[-2]}×{images.shape[-1]}"
            )
        holes = masks.to(torch.bool)
        x = torch.where(holes, torch.ones_like(images), images)
        for stage in self.encoder:
            x = stage(x, holes)
        x = self.last(self.decoder(self.middle(x)))
        return (torch.tanh(x) + 1) / 2


class _Masked(nn.Module):
    """A convolution, the early norm and ReLU; a norm that takes a mask is given it."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor, holes: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.relu(self.norm(x, holes) if isinstance(self.norm, RNB) else self.norm(x))


def _first(inputs: int, outputs: int, kernel_size: int, norm: Callable[[int], nn.Module]) -> _Masked:
    conv = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, padding_mode="reflect")
    return _Masked(conv, norm(outputs))


def _down(inputs: int, outputs: int, norm: Callable[[int], nn.Module]) -> _Masked:
    return _Masked(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), norm(outputs))


class _Residual(nn.Module):
    """x + norm(conv(ReLU(norm(dilated conv(x))))), nothing after the sum."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, padding_mode="reflect")
        self.norm1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm2 = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))


class _Up(nn.Sequential):
    """A convolution to twice the channels, a pixel shuffle to half of them at twice the size, norm, ReLU."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        conv = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        super().__init__(conv, nn.PixelShuffle(2), norm(channels // 2), nn.ReLU())
