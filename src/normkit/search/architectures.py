"""The small networks on which candidates are judged; each takes a factory from channels to a layer.

Liu et al. (2020), arXiv:2004.02967, section 4 judge on pre-activation ResNet-50, MobileNetV2 and EfficientNet-B0,
narrowed. These are their shapes at the size of a processor: eight convolutions, average pooling by 2 half way, a layer
at every place of a norm and before the final pooling.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "Architecture", "Layer", "chosen", "described", "mb", "plain", "res"]

Layer = Callable[[int], nn.Module]
Architecture = Callable[..., nn.Module]
"""`architecture(layer, in_channels=…, num_classes=…)` builds a network."""

Images = Float[Tensor, "batch channels height width"]


def plain(
    layer: Layer, *, in_channels: int = 1, num_classes: int = 10, channels: int = 12, blocks: int = 4
) -> nn.Module:
    """Stem, (conv – L – conv – L) × `blocks` without shortcuts, L, global pooling, linear.

    Shapes: (N, in_channels, H, W), H and W even, to (N, num_classes).
    """
    parts = [
        nn.Sequential(_conv(channels, channels), layer(channels), _conv(channels, channels), layer(channels))
        for _ in range(blocks)
    ]
    stem = _conv(in_channels, channels)
    return nn.Sequential(stem, *_with_pool(parts), layer(channels), *_head(channels, num_classes))


def res(layer: Layer, *, in_channels: int = 1, num_classes: int = 10, channels: int = 12, blocks: int = 4) -> nn.Module:
    """Stem, x + (L – conv – L – conv)(x) `blocks` times, L, global pooling, linear.

    Shapes: as `plain`.
    """
    parts = [
        Residual(layer(channels), _conv(channels, channels), layer(channels), _conv(channels, channels))
        for _ in range(blocks)
    ]
    stem = _conv(in_channels, channels)
    return nn.Sequential(stem, *_with_pool(parts), layer(channels), *_head(channels, num_classes))


def mb(
    layer: Layer,
    *,
    in_channels: int = 1,
    num_classes: int = 10,
    channels: int = 12,
    blocks: int = 4,
    expansion: int = 2,
) -> nn.Module:
    """Stem, x + (conv1×1 – L – depthwise conv3×3 – L – conv1×1)(x) `blocks` times, L, global pooling, linear.

    Inverted bottlenecks: Sandler et al. (2018), MobileNetV2, arXiv:1801.04381. Shapes: as `plain`.
    """
    wide = expansion * channels
    parts = [
        Residual(
            _conv(channels, wide, 1),
            layer(wide),
            _conv(wide, wide, groups=wide),
            layer(wide),
            _conv(wide, channels, 1),
        )
        for _ in range(blocks)
    ]
    stem = _conv(in_channels, channels)
    return nn.Sequential(stem, *_with_pool(parts), layer(channels), *_head(channels, num_classes))


ARCHITECTURES: dict[str, Architecture] = {"plain": plain, "res": res, "mb": mb}
"""By name, in the order in which `architectures=K` takes them."""


def chosen(architectures: int | list[str] | Mapping[str, Architecture]) -> dict[str, Architecture]:
    """The first K, those named, or the user's own.

    Raises:
        ValueError: none, more than there are, or an unknown name.
    """
    if isinstance(architectures, Mapping):
        found = dict(architectures)
    elif isinstance(architectures, int):
        found = dict(list(ARCHITECTURES.items())[:architectures])
        if not 1 <= architectures <= len(ARCHITECTURES):
            raise ValueError(f"architectures={architectures}: between 1 and {len(ARCHITECTURES)} are there")
    else:
        if unknown := [name for name in architectures if name not in ARCHITECTURES]:
            raise ValueError(f"there is no architecture {unknown[0]!r}, only {', '.join(ARCHITECTURES)}")
        found = {name: ARCHITECTURES[name] for name in architectures}
    if not found:
        raise ValueError("no architecture was given: candidates are judged on one at least")
    return found


class Residual(nn.Sequential):
    """x + f(x), f the modules in order."""

    def forward(self, x: Images) -> Images:
        """The sum for a batch of maps."""
        return x + super().forward(x)


def _conv(inputs: int, outputs: int, size: int = 3, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, groups=groups)


def _with_pool(blocks: Sequence[nn.Module]) -> list[nn.Module]:
    """The blocks with average pooling by 2 half way."""
    half = (len(blocks) + 1) // 2
    return [*blocks[:half], nn.AvgPool2d(2), *blocks[half:]]


def _head(channels: int, num_classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]


def described(architecture: Architecture) -> dict[str, Any]:
    """What an architecture is, as plain values: the function that builds it and what that is told.

    Raises:
        TypeError: it is told something that is no number, word or list of these.
    """
    function, told = architecture, {}
    if isinstance(architecture, partial):
        function = architecture.func
        told = {str(place): value for place, value in enumerate(architecture.args)} | architecture.keywords
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in told.items()}
    for name, value in list(plain.items()):
        try:
            plain[name] = json.loads(json.dumps(value))  # as a log gives it back
        except TypeError:
            raise TypeError(
                f"an architecture is told {name}={value!r}: a log keeps numbers, words and lists of these alone"
            ) from None
    where = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
    return {"function": where} | plain
