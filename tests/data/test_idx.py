import gzip
from pathlib import Path

import numpy as np
import pytest

from normkit.data.idx import read_idx, write_idx


@pytest.mark.parametrize("shape", [(5,), (3, 4, 2), (0, 2)])
def test_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    write_idx(tmp_path / "a.gz", values)
    assert np.array_equal(read_idx(tmp_path / "a.gz"), values)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path / "a.gz", np.zeros((3, 4), np.uint8))
    content = gzip.decompress((tmp_path / "a.gz").read_bytes())
    (tmp_path / "a.gz").write_bytes(gzip.compress(content[:-1]))
    with pytest.raises(ValueError, match=r"a.gz holds 11 values, and its header says \(3, 4\)"):
        read_idx(tmp_path / "a.gz")


def test_another_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(ValueError, match="no idx file"):
        read_idx(tmp_path / "a.gz")
