"""The idx format of the MNIST files: a magic number with type and rank, big-endian sizes, then the bytes."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normkit.data.files import write_atomically

__all__ = ["read_idx", "write_idx"]

_UINT8 = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of unsigned bytes in a gzipped idx file.

    Raises:
        ValueError: it is no idx file of bytes, or its length is not what its sizes say.
    """
    content = gzip.decompress(path.read_bytes())
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UINT8:
        raise ValueError(f"{path.name} is no idx file of unsigned bytes")
    rank = content[3]
    shape = struct.unpack_from(f">{rank}I", content, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path.name} holds {values.size} values, and its header says {shape}")
    return values.reshape(shape)


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    """Write an array of unsigned bytes as a gzipped idx file, whole or not at all."""
    header = struct.pack(f">4B{values.ndim}I", 0, 0, _UINT8, values.ndim, *values.shape)
    write_atomically(path, gzip.compress(header + values.tobytes(), mtime=0))
