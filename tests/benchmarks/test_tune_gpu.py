"""`bench --tune --device cuda`: what is asked of the tuner, what is said, and what is said without a GPU."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from normkit.benchmarks import GpuTuned, print_tuned_gpu, tune_gpu
from normkit.benchmarks._harness import tune_gpu as module
from normkit.kernels.triton import availability

TILE = {"key": "norm bfloat16 4096", "ROWS": 1, "BLOCK": 4096, "num_warps": 8, "ratio": 0.9}


def said(found):
    console = Console(file=io.StringIO(), width=100)
    print_tuned_gpu(found, console)
    return console.file.getvalue()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no GPU")
def test_without_a_gpu_the_reason_is_said():
    found = tune_gpu(["softmax"])
    assert found.table is None
    assert "no CUDA device" in found.skipped
    assert "GPU: nothing was measured: torch sees no CUDA device" in said(found)


def test_what_was_found_is_said_with_the_place_where_it_is_kept():
    text = said(GpuTuned([TILE], {"softmax float32 crossover": 8192}, "/home/me/.cache/normkit/triton/H100.json"))
    assert "norm bfloat16 4096" in text
    assert "1×4096, 8 warps" in text
    assert "softmax float32" in text
    assert "kept in /home/me/.cache/normkit/triton/H100.json" in text


@pytest.mark.skipif("triton is not installed" in availability.WHY_NOT, reason=availability.WHY_NOT)
@pytest.mark.parametrize(
    ("ops", "quick", "tuned"),
    [
        (["log_softmax", "softmax"], False, ["softmax", "softmax_backward"]),
        (["crms_norm"], True, ["norm", "norm_backward"]),
        (["group_norm"], False, None),
    ],
)
def test_operations_are_tuned_by_the_kernels_that_they_share(ops, quick, tuned, monkeypatch):
    from normkit.kernels.triton import tune, tuning

    asked = {}
    monkeypatch.setattr(module, "why_no_gpu", lambda: "")
    monkeypatch.setattr(module, "WHY_NOT", "")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(tuning, "path", lambda device: Path("/somewhere/GPU.json"))
    monkeypatch.setattr(tune, "tune_crossovers", lambda **options: {"softmax float32 crossover": 1})
    monkeypatch.setattr(tune, "tune", lambda names, **options: asked.update(options, names=names) or [])
    found = tune_gpu(ops, quick=quick, minutes=2.0)
    assert asked.get("names") == tuned
    if tuned is not None:
        assert asked["seconds"] == 120
        assert len(asked["widths"]) == (3 if quick else len(tune.WIDTHS))
    assert found.table == (None if tuned is None else "/somewhere/GPU.json")
