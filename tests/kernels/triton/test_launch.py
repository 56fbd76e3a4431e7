"""Tiles, pieces, alignment and the table of measured tiles: plain arithmetic, tested on every machine."""

import json

import pytest
import torch

from normkit.kernels.triton import launch, tuning
from normkit.kernels.triton.tensors import alignment, rows

CPU = torch.device("cpu")


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuning, "version", lambda package: "3.9.0")
    launch.tile.cache_clear()
    yield tuning.path(CPU)
    launch.tile.cache_clear()
    tuning._table.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 2, 17, 256, 257, 1000, 4096, 16384])
def test_a_tile_holds_the_row_and_gives_a_thread_8_to_32_elements(width, dtype, table):
    tile = launch.tile("softmax", width, dtype, CPU)
    assert tile.BLOCK >= width > tile.BLOCK // 2 or tile.BLOCK == 16
    assert (tile.ROWS > 1) == (width <= 256)
    assert 8 <= tile.ROWS * tile.BLOCK / (32 * tile.num_warps) <= 32


def test_rows_beyond_the_registers_have_no_tile(table):
    assert launch.tile("softmax", 16385, torch.float32, CPU) is None
    assert launch.tile("softmax", 32768, torch.bfloat16, CPU) is not None
    assert launch.tile("softmax", 32769, torch.bfloat16, CPU) is None
    assert launch.tile("softmax", 9000, torch.bfloat16, CPU, 8192) is None


def test_measured_tiles_are_taken_and_others_are_not(table):
    found = {tuning.key("softmax", 1024, torch.float32): {"ROWS": 2, "num_warps": 8}}
    assert tuning.record(CPU, found) == table
    assert launch.tile("softmax", 1000, torch.float32, CPU) == (2, 1024, 8)
    assert launch.tile("softmax", 1000, torch.bfloat16, CPU) != (2, 1024, 8)
    tuning.record(CPU, {tuning.key("norm", 1024, torch.float32): {"ROWS": 1, "num_warps": 4}})
    assert len(json.loads(table.read_text())) == 2
    assert [file.name for file in table.parent.iterdir()] == [table.name]


@pytest.mark.parametrize("content", ["", "[]", '{"softmax float32 1024": {"ROWS": 2}}', '{"softmax float32 1024": 3}'])
def test_a_broken_table_is_as_none(content, table):
    table.parent.mkdir(parents=True)
    table.write_text(content)
    assert launch.tile("softmax", 1000, torch.float32, CPU) == (1, 1024, 4)


def test_measured_crossover(table):
    assert tuning.crossover("softmax", torch.float32, CPU, 77) == 77
    tuning.record(CPU, {"softmax float32 crossover": 1000})
    assert tuning.crossover("softmax", torch.float32, CPU, 77) == 1000
    assert tuning.crossover("softmax", torch.float16, CPU, 77) == 77


def test_alignment_is_a_power_of_two_that_divides_all():
    assert [alignment(*sizes) for sizes in ((1000,), (1024, 96), (50257,), (6, 4), (48, 0))] == [8, 16, 1, 2, 16]


def test_rows_are_views_where_they_are_dense():
    x = torch.zeros(4, 6, 8)
    assert rows(x)[1:] == (24, 8, 8)
    assert rows(x, 48)[1:] == (4, 48, 48)
    assert rows(x[:, :3])[1:] == (12, 8, 8)  # copied: two strides
    assert rows(x[:, 0])[1:] == (4, 8, 48)
    assert rows(x[:, 0]).tensor.data_ptr() == x.data_ptr()
    assert rows(x.mT)[1:] == (32, 6, 6)
    assert rows(x[0, 0].expand(5, 8))[1:] == (5, 8, 0)
