"""Checks that operations share, and what they say."""

import numpy as np
import pytest
import torch
from torch import Tensor

from normkit.kernels.arguments import axis, check_accuracy, check_eps, check_float, check_normalized_shape, check_out


@pytest.mark.parametrize(("ndim", "dim", "counted"), [(2, 1, 1), (2, -1, 1), (2, -2, 0), (0, 0, 0), (0, -1, 0)])
def test_axis_counts_from_the_front(ndim: int, dim: int, counted: int) -> None:
    assert axis(torch.zeros([1] * ndim), dim) == counted


@pytest.mark.parametrize(("ndim", "dim"), [(2, 2), (2, -3), (0, 1)])
def test_axis_out_of_range_has_torchs_wording(ndim: int, dim: int) -> None:
    x = torch.zeros([1] * ndim)
    with pytest.raises(IndexError) as torchs:
        torch.softmax(x, dim)
    with pytest.raises(IndexError) as ours:
        axis(x, dim)
    assert str(ours.value) == str(torchs.value)


def test_float_eps_and_accuracy() -> None:
    with pytest.raises(TypeError, match=r"op: input must be a float tensor, got torch.int64; convert it first"):
        check_float("op", torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="op: eps must be at least 0, got -1"):
        check_eps("op", -1.0)
    with pytest.raises(ValueError, match="op: eps must be at least 0, got nan"):
        check_eps("op", float("nan"))
    with pytest.raises(ValueError, match="op: accuracy is 'default' or 'high', not 'low'"):
        check_accuracy("op", "low")
    check_float("op", torch.ones(2))
    check_eps("op", 0.0)
    check_eps("op", None)
    check_accuracy("op", "high")


def test_normalized_shape() -> None:
    x, w = torch.ones(2, 3, 4), torch.ones(4)
    check_normalized_shape("op", x, (4,), w, w)
    check_normalized_shape("op", x, [3, 4], torch.ones(3, 4))
    for wrong in ((3,), (), (2, 4), (1, 2, 3, 4)):
        with pytest.raises(ValueError, match=r"must be the trailing axes of the input, whose shape is \(2, 3, 4\)"):
            check_normalized_shape("op", x, wrong)
    with pytest.raises(ValueError, match=r"op: weight must have the shape \(4,\), got \(3,\)"):
        check_normalized_shape("op", x, (4,), torch.ones(3))
    with pytest.raises(ValueError, match=r"op: bias must have the shape \(4,\), got \(1, 4\)"):
        check_normalized_shape("op", x, (4,), w, torch.ones(1, 4))


def overlapping(case: str) -> tuple[Tensor, Tensor]:
    memory = torch.zeros(64)
    if case == "shifted":
        return memory[:32].view(4, 8), memory[4:36].view(4, 8)
    if case == "transposed":
        return memory.view(8, 8), memory.view(8, 8).mT
    return memory[:16].view(4, 4), torch.as_strided(memory, (4, 4), (8, 2))


@pytest.mark.parametrize("case", ["shifted", "transposed", "interleaved"])
def test_out_that_overlaps_in_part_is_refused(case: str) -> None:
    out, x = overlapping(case)
    with pytest.raises(ValueError, match="op: out overlaps an input in part"):
        check_out("op", out, x.shape, x.dtype, x)


def test_out_beside_the_input_in_one_memory_is_taken() -> None:
    memory = torch.zeros(4, 32)
    check_out("op", memory[:, :8], (4, 8), memory.dtype, memory[:, 8:16])
    check_out("op", memory[:, ::2], (4, 16), memory.dtype, memory[:, 1::2])
    check_out("op", memory, memory.shape, memory.dtype, memory)


def test_overlap_is_seen_across_storages() -> None:
    array = np.zeros(9, dtype=np.float32)
    with pytest.raises(ValueError, match="op: out overlaps an input in part"):
        check_out("op", torch.from_numpy(array[1:]), (8,), torch.float32, torch.from_numpy(array[:8]))


def test_out_with_elements_in_one_place_is_refused() -> None:
    with pytest.raises(ValueError, match="op: elements of out share memory"):
        check_out("op", torch.zeros(3, 1).expand(3, 4), (3, 4), torch.float32, torch.zeros(3, 4))


def test_out_and_gradients() -> None:
    x = torch.zeros(3, requires_grad=True)
    with pytest.raises(ValueError, match=r"op: out= gives no gradient.*torch.no_grad"):
        check_out("op", torch.zeros(3), x.shape, x.dtype, x)
    with torch.no_grad():
        check_out("op", torch.zeros(3), x.shape, x.dtype, x)
