"""EvoNorm B1, B2, S1, S2 and timm's S0a against their equations, written out."""

import pytest
import torch

from normkit import nn

X = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
SPACE = (2, 3)


def _group(statistic: torch.Tensor) -> torch.Tensor:
    """(B, 2) → over X."""
    return statistic.repeat_interleave(2, 1)[:, :, None, None]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["B1", "B2"])
def test_series_b(kind: str, training: bool) -> None:
    layer = getattr(nn, f"EvoNorm2d{kind}")(4, eps=1e-2, dtype=torch.float64).train(training)
    layer.running_var.copy_(torch.tensor([0.5, 1.0, 2.0, 4.0]))
    batch = X.var((0, 2, 3), correction=0) if training else layer.running_var.clone()
    rms = (X.square().mean(SPACE, keepdim=True) + 1e-2).sqrt()
    other = (X + 1) * rms if kind == "B1" else rms - X
    before = layer.running_var.clone()
    y = layer(X)
    torch.testing.assert_close(y, X / torch.maximum((batch + 1e-2).sqrt()[:, None, None], other))
    moved = 0.9 * before + 0.1 * X.var((0, 2, 3)) if training else before
    torch.testing.assert_close(layer.running_var, moved)


def test_series_s() -> None:
    groups = X.reshape(3, 2, -1)
    std, rms = ((v + 1e-5).sqrt() for v in (groups.var(-1, correction=0), groups.square().mean(-1)))
    s1, s2 = (getattr(nn, f"EvoNorm2d{kind}")(4, 2, dtype=torch.float64)(X) for kind in ("S1", "S2"))
    torch.testing.assert_close(s1, X * X.sigmoid() / _group(std))
    torch.testing.assert_close(s2, X * X.sigmoid() / _group(rms))


def test_timms_variant_divides_without_activation_too() -> None:
    std = _group((X.reshape(3, 2, -1).var(-1, correction=0) + 1e-3).sqrt())
    layer = nn.EvoNorm2dS0a(4, 2, apply_act=False, dtype=torch.float64)
    assert layer.v is None
    torch.testing.assert_close(layer(X), X / std)
    torch.testing.assert_close(nn.EvoNorm2dS0a(4, 2, dtype=torch.float64)(X), X * X.sigmoid() / std)


@pytest.mark.parametrize("kind", ["B1", "B2", "S1", "S2"])
def test_without_activation_they_are_affine(kind: str) -> None:
    layer = getattr(nn, f"EvoNorm2d{kind}")(32, apply_act=False)
    x = torch.randn(2, 32, 3, 3)
    with torch.no_grad():
        layer.weight.fill_(2.0)
    assert torch.equal(layer(x), 2 * x)


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"EvoNorm2dS2: 6 channels cannot be cut into 4 groups; what fits is 1, 2, 3, 6"
    ):
        nn.EvoNorm2dS2(6, 4)
    with pytest.raises(ValueError, match=r"6 channels cannot be cut into groups of 4"):
        nn.EvoNorm3dS1(6, group_size=4)
    with pytest.raises(ValueError, match=r"EvoNorm2dB1: momentum must lie in \[0, 1\], got 2"):
        nn.EvoNorm2dB1(6, momentum=2.0)
    with pytest.raises(ValueError, match=r"evonorm_b2: the batch's variance needs more than one value a channel"):
        nn.EvoNorm2dB2(6)(torch.randn(1, 6, 1, 1))
    with pytest.raises(ValueError, match=r"over all ranks; got an input of shape \(1, 6, 1\)"):
        nn.EvoNorm1dB2(6, sync=True)(torch.randn(1, 6, 1))
    with pytest.raises(ValueError, match=r"over all ranks; got an input of shape \(1, 6, 1, 1\)"):
        nn.BatchChannelNorm2d(6, 2, style="batch", sync=True)(torch.randn(1, 6, 1, 1))
