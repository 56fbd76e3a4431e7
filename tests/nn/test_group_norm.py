"""GroupNorm: torch's layer in every respect, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkit.nn import GroupNorm


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"eps": 1e-2}])
def test_equals_torchs_layer_and_loads_its_checkpoint(options: dict[str, object]) -> None:
    theirs, ours = torch.nn.GroupNorm(3, 6, **options), GroupNorm(3, 6, **options)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(3, 6, 4, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=2e-6)
    assert isinstance(ours, torch.nn.GroupNorm)
    assert repr(ours) == repr(theirs)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 40), scale=st.floats(0.1, 1e3), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 9))
def test_scale_and_shift_of_a_group_do_not_matter(size: int, scale: float, shift: float, seed: int) -> None:
    x = torch.randn(3, 4, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    layer = GroupNorm(2, 4, eps=0.0, dtype=torch.float64)
    moved = torch.cat([scale * x[:, :2] + shift, x[:, 2:]], 1)
    torch.testing.assert_close(layer(moved), layer(x), rtol=0, atol=1e-6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="6 channels cannot be cut into 4 groups; what fits is 1, 2, 3, 6"):
        GroupNorm(4, 6)
    with pytest.raises(ValueError, match="eps must be at least 0"):
        GroupNorm(2, 4, eps=-1.0)
    with pytest.raises(ValueError, match="a group of one value has no variance"):
        GroupNorm(4, 4)(torch.randn(2, 4, 1))
    with pytest.raises(ValueError, match=r"made for 4 channels, got an input of shape \(2, 6, 3\)"):
        GroupNorm(2, 4)(torch.randn(2, 6, 3))
    with pytest.raises(TypeError, match="float tensor"):
        GroupNorm(2, 4)(torch.ones(2, 4, 3, dtype=torch.int64))
