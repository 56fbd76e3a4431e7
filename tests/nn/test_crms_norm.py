"""CRMSNorm: the first d − 1 entries of RMSNorm and LayerNorm on zero-mean vectors."""

import pytest
import torch

from normkit.nn import CRMSNorm, LayerNorm, RMSNorm


@pytest.mark.parametrize("width", [2, 3, 16, 257])
def test_gives_what_the_whole_vector_gives(width: int) -> None:
    x = torch.randn(4, 3, width, dtype=torch.float64)
    x = x - x.mean(-1, keepdim=True)
    ours = CRMSNorm(width - 1, 1e-5)(x[..., :-1])
    for norm in (LayerNorm, RMSNorm):
        whole = norm(width, 1e-5, elementwise_affine=False)(x)
        torch.testing.assert_close(ours, whole[..., :-1], rtol=0, atol=1e-13)
        torch.testing.assert_close(-ours.sum(-1), whole[..., -1], rtol=0, atol=1e-12)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="compressed_dim must be at least 1, got 0"):
        CRMSNorm(0)
    with pytest.raises(ValueError, match="first 4 entries of a zero-mean vector of 5, got an input of shape"):
        CRMSNorm(4)(torch.randn(2, 5))
    with pytest.raises(ValueError, match="eps must be at least 0"):
        CRMSNorm(4, eps=-1e-5)
