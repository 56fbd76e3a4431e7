"""group_norm: torch's function, invariances, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkit.functional import group_norm
from normkit.kernels import native

KERNELS = [None, *(["native"] if native.AVAILABLE else []), "torch", "reference"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 5, 7), 3), ((3, 4, 9), 4), ((2, 8), 2), ((1, 4, 3, 3, 3), 1)])
def test_is_torchs(kernel: str | None, shape: tuple[int, ...], groups: int) -> None:
    x, weight, bias = torch.randn(shape), torch.randn(shape[1]), torch.randn(shape[1])
    for parameters in ((weight, bias), (weight, None), (None, bias), (None, None)):
        wanted = torch.nn.functional.group_norm(
            x.double(), groups, *(None if p is None else p.double() for p in parameters)
        )
        ours = group_norm(x, groups, *parameters, kernel=kernel)
        torch.testing.assert_close(ours.double(), wanted, rtol=0, atol=5e-6)


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 4),
    groups=st.integers(1, 4),
    width=st.integers(1, 3),
    size=st.integers(2, 40),
    scale=st.floats(0.1, 1e3),
    shift=st.floats(-1e3, 1e3),
)
def test_scale_and_shift_of_a_sample_do_not_matter(
    batch: int, groups: int, width: int, size: int, scale: float, shift: float
) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(batch, groups * width, size, generator=draw, dtype=torch.float64)
    plain = group_norm(x, groups, eps=0.0)
    torch.testing.assert_close(group_norm(scale * x + shift, groups, eps=0.0), plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_parameters_of_another_type(kernel: str | None) -> None:
    x, weight = torch.randn(2, 4, 9), torch.randn(4)
    y = group_norm(x.bfloat16(), 2, weight, weight, kernel=kernel)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), group_norm(x, 2, weight, weight), rtol=2e-2, atol=4e-2)


def test_an_empty_batch_gives_an_empty_batch() -> None:
    x = torch.empty(0, 4, 3, requires_grad=True)
    y = group_norm(x, 2)
    assert y.shape == x.shape
    y.sum().backward()


def test_refusals() -> None:
    x = torch.randn(2, 6, 3)
    with pytest.raises(ValueError, match="6 channels cannot be cut into 4 groups; what fits is 1, 2, 3, 6"):
        group_norm(x, 4)
    with pytest.raises(ValueError, match=r"input must be \(batch, channels, \*space\), got the shape \(6,\)"):
        group_norm(x[0, :, 0], 2)
    with pytest.raises(ValueError, match=r"weight must hold one value for each of the 6 channels.*\(3,\)"):
        group_norm(x, 2, torch.ones(3))
    with pytest.raises(ValueError, match="a group of one value has no variance"):
        group_norm(x[..., :1], 6)
    with pytest.raises(ValueError, match="eps must be at least 0"):
        group_norm(x, 2, eps=-1.0)
