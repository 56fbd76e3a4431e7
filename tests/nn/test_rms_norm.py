"""RMSNorm: torch's layer, with a shift, an offset, and the three roundings in use."""

import pytest
import torch
from torch import Tensor

from normkit.nn import LayerNorm, RMSNorm


@pytest.mark.parametrize("eps", [None, 1e-6])
def test_equals_torchs_layer_and_loads_its_checkpoint(eps: float | None) -> None:
    theirs, ours = torch.nn.RMSNorm((4, 5), eps), RMSNorm((4, 5), eps)
    torch.nn.init.normal_(theirs.weight)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=2e-6)
    assert isinstance(ours, torch.nn.RMSNorm)


def test_is_layernorm_on_zero_mean_vectors() -> None:
    x = torch.randn(6, 9, dtype=torch.float64)
    x = x - x.mean(-1, keepdim=True)
    layer, rms = LayerNorm(9, dtype=torch.float64), RMSNorm(9, 1e-5, bias=True, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    rms.load_state_dict(layer.state_dict(), strict=True)
    torch.testing.assert_close(rms(x), layer(x), rtol=0, atol=1e-13)


def test_three_roundings_agree_in_float32_and_differ_as_said_in_half() -> None:
    x, weight = torch.randn(5, 16), torch.randn(16)
    assert len({_rms(x, weight, cast).numpy().tobytes() for cast in ("torch", "gemma", "llama")}) == 1
    half, gain = x.to(torch.bfloat16), weight.to(torch.bfloat16)
    normal = half.float() * torch.rsqrt(half.float().square().mean(-1, keepdim=True) + 1e-6)
    once, twice = (normal * gain.float()).to(torch.bfloat16), normal.to(torch.bfloat16) * gain
    assert not torch.equal(once, twice)
    torch.testing.assert_close(_rms(half, gain, "gemma"), once, rtol=8e-3, atol=0)
    assert (_rms(half, gain, "llama") == twice).float().mean() > 0.9
    assert (_rms(half, gain, "gemma") == once).float().mean() > 0.9


def test_gemmas_gain_starts_at_zero() -> None:
    layer = RMSNorm(5, offset=1.0)
    assert torch.equal(layer.weight, torch.zeros(5))
    x = torch.randn(2, 5)
    torch.testing.assert_close(layer(x), RMSNorm(5)(x))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="eps must be at least 0, got -1"):
        RMSNorm(4, eps=-1.0)
    with pytest.raises(ValueError, match="cast is 'torch', 'llama' or 'gemma', not 'apex'"):
        RMSNorm(4, cast="apex")
    with pytest.raises(ValueError, match="bias=True needs elementwise_affine=True"):
        RMSNorm(4, elementwise_affine=False, bias=True)
    with pytest.raises(ValueError, match=r"normalized_shape \(4,\) must be the trailing axes"):
        RMSNorm(4)(torch.randn(2, 5))


def _rms(x: Tensor, weight: Tensor, cast: str) -> Tensor:
    layer = RMSNorm(x.shape[-1], 1e-6, cast=cast, dtype=x.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        return layer(x)
