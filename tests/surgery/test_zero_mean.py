"""Recentring and compressing weights: linear maps before and after compute the same."""

import pytest
import torch

from normkit.surgery.zero_mean import compress_reader, compress_writer, recentre


@pytest.mark.parametrize("width", [2, 5, 64])
def test_writer_and_reader_agree_on_the_compressed_stream(width: int) -> None:
    writer, reader = torch.randn(width, 3, dtype=torch.float64), torch.randn(4, width, dtype=torch.float64)
    whole = reader @ recentre(writer)
    torch.testing.assert_close(compress_reader(reader) @ compress_writer(writer), whole)
    torch.testing.assert_close(recentre(writer).sum(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert compress_writer(writer.T, dim=1).shape == (3, width - 1)


def test_half_precision_is_recentred_in_float32() -> None:
    weight = (torch.randn(512, 4, generator=torch.Generator().manual_seed(0)) + 30).to(torch.bfloat16)
    exact = recentre(weight.double())
    torch.testing.assert_close(recentre(weight).double(), exact, rtol=8e-3, atol=1e-3)


@pytest.mark.parametrize("compress", [compress_reader, compress_writer])
def test_a_stream_of_one_entry_is_refused(compress: object) -> None:
    with pytest.raises(ValueError, match=r"needs two entries or more, got a weight of shape \(1, 1\)"):
        compress(torch.ones(1, 1))
