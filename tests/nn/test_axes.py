"""The 1d and 3d layers are the 2d layer on the same values in another shape, and refuse another number of axes."""

import pytest
import torch
from torch import Tensor

from normkit import nn

KINDS = {
    **{f"EvoNorm{{}}d{kind}": {} for kind in ("B0", "B1", "B2")},
    **{f"EvoNorm{{}}d{kind}": {"groups": 2} for kind in ("S0", "S0a", "S1", "S2")},
    "EstBatchNorm{}d": {},
    "BatchChannelNorm{}d": {"num_groups": 2},
}
SHAPES = {1: (3, 4, 12), 2: (3, 4, 4, 3), 3: (3, 4, 2, 3, 2)}
each_kind = pytest.mark.parametrize("kind", KINDS)


def _layer(kind: str, axes: int) -> torch.nn.Module:
    layer = getattr(nn, kind.format(axes))(4, **KINDS[kind])
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return layer


def _outcome(kind: str, axes: int, x: Tensor) -> list[Tensor]:
    layer, leaf = _layer(kind, axes), x.reshape(SHAPES[axes]).clone().requires_grad_()
    y = layer(leaf)
    gradients = torch.autograd.grad((y * torch.arange(y.numel()).reshape(y.shape)).sum(), (leaf, *layer.parameters()))
    evaluated = layer.eval()(leaf)
    return [y.flatten(2), gradients[0].flatten(2), *gradients[1:], *layer.buffers(), evaluated.flatten(2)]


@each_kind
def test_the_number_of_axes_changes_nothing(kind: str) -> None:
    x = torch.randn(3, 4, 12, generator=torch.Generator().manual_seed(1)) * 2 + 1
    plain = _outcome(kind, 2, x)
    for axes in (1, 3):
        for ours, wanted in zip(_outcome(kind, axes, x), plain, strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)


@each_kind
@pytest.mark.parametrize(
    ("axes", "wanted"), [(1, r"\(batch, channels, length\)"), (3, r"\(batch, channels, depth, height, width\)")]
)
def test_another_number_of_axes_is_refused(kind: str, axes: int, wanted: str) -> None:
    with pytest.raises(ValueError, match=rf"{kind.format(axes)}: input must be {wanted}, got the shape \(3, 4, 4, 3\)"):
        _layer(kind, axes)(torch.randn(SHAPES[2]))
