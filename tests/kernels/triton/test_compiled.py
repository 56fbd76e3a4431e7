"""Every program × type × class of widths, compiled for two GPUs with none at hand: no spills, loads of 16 bytes."""

import pytest
import torch

from normkit.kernels.triton import availability, columns, cross_entropy, evonorm_s0, launch, norms, softmax

pytest.importorskip("triton", reason="the compiler is not installed")
from tests.kernels.triton.compilation import collected

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(availability.INTERPRETED, reason="an interpreted program cannot be compiled"),
    pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["f32", "bf16", "f16"]),
    pytest.mark.parametrize("architecture", [80, 90]),
]
WIDTHS = [16, 100, 1000, 1536, 4096, 8192, 16384, 32768, 50257, 131072]
FEW_READ = {"sum_lines", "logsumexp_pieces"}  # lines of any width; two numbers a piece


@pytest.fixture(autouse=True)
def _a_large_device(monkeypatch):
    for module in (launch, norms, columns):
        monkeypatch.setattr(module, "multiprocessors", lambda device: 132)


def check(found, names, *, wide):
    assert {each.name for each in found} == set(names)
    assert not [each for each in found if each.spilled]
    assert not [each for each in found if wide and not each.wide_loads and each.name not in FEW_READ]


def divisible(width, dtype):
    """Whether every row starts at a multiple of 16 bytes and has enough columns that a thread can read so many."""
    return width * dtype.itemsize % 16 == 0 and width >= 1000


@pytest.mark.parametrize("number", [1, 512])
@pytest.mark.parametrize("width", WIDTHS)
def test_softmax(width, number, architecture, dtype, monkeypatch):
    found = collected(monkeypatch, softmax, architecture)
    x = torch.empty(number, width, dtype=dtype)
    for kind in (softmax.SOFTMAX, softmax.LOG_SOFTMAX):
        softmax.forward(kind, x, True)
        softmax.backward(kind, x, x, True)
    softmax.logsumexp_backward(x, torch.empty(number), torch.empty(number))
    forward = {"forward_chunks"} if number > 1 else {"sum_pieces", "forward_pieces"}
    backward = {"backward_chunks"} if number > 1 else {"dot_pieces", "backward_pieces"}
    forward = {"forward_tile"} if width <= launch.WIDEST[dtype.itemsize] else forward
    backward = {"backward_tile"} if width <= softmax.WIDEST_BACKWARD else backward
    check(found, forward | backward | {"logsumexp_backward"}, wide=divisible(width, dtype))


@pytest.mark.parametrize("number", [1, 512])
@pytest.mark.parametrize("width", [100, 16384, 131072])
def test_logsumexp(width, number, architecture, dtype, monkeypatch):
    found = collected(monkeypatch, softmax, architecture)
    softmax.total_of_rows(torch.empty(number, width, dtype=dtype))
    long = {"forward_chunks"} if number > 1 else {"sum_pieces", "logsumexp_pieces"}
    short = width <= launch.WIDEST[dtype.itemsize]
    check(found, {"forward_tile"} if short else long, wide=divisible(width, dtype))


@pytest.mark.parametrize("residual", [False, True], ids=["", "residual"])
@pytest.mark.parametrize("cast", ["torch", "llama"])
@pytest.mark.parametrize("kind", [norms.LAYER, norms.RMS, norms.CRMS], ids=["layer", "rms", "crms"])
@pytest.mark.parametrize("width", [16, 100, 1000, 1536, 4096, 8192, 16384, 65536])
def test_norms(width, kind, cast, residual, architecture, dtype, monkeypatch):
    if cast == "llama" and (kind != norms.RMS or dtype == torch.float32):
        pytest.skip("RMSNorm alone rounds so, and half types alone can be rounded")
    found = collected(monkeypatch, norms, architecture)
    norm = norms.Norm(kind, width, 1e-5, 0.0, cast)
    x, weight = torch.empty(600, width, dtype=dtype), torch.empty(width, dtype=dtype)
    bias = None if kind == norms.CRMS else weight
    _, _, mean, rstd = norms.forward(norm, x, x if residual else None, weight, bias)
    for dtypes in ([dtype, None if bias is None else dtype], [None, None]):
        norms.backward(norm, x, weight, mean, rstd, x, x if residual else None, dtypes)
    forward = "forward_tile" if width <= launch.WIDEST[dtype.itemsize] else "forward_chunks"
    backward = "backward_tile" if width <= norms.WIDEST_BACKWARD else "backward_chunks"
    check(found, {forward, backward, "sum_lines"}, wide=divisible(width, dtype))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("width", [10, 1000, 16384, 50257, 128256])
def test_cross_entropy(width, weighted, smoothing, architecture, dtype, monkeypatch):
    found = collected(monkeypatch, cross_entropy, architecture)
    x, target = torch.empty(64, width, dtype=dtype), torch.zeros(64, dtype=torch.int64)
    weight = torch.ones(width) if weighted else None
    for reduction in ("mean", "none"):
        settings = cross_entropy.Settings(-100, reduction, smoothing)
        _, kept = cross_entropy.forward(x, target, weight, settings)
        cross_entropy.backward(x, target, weight, torch.ones(64 if reduction == "none" else ()), kept, settings)
    forward = "forward_tile" if width <= launch.WIDEST[dtype.itemsize] else "forward_chunks"
    check(found, {forward, "backward"}, wide=divisible(width, dtype))


@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((1, 256, 49), 32),
        ((8, 256, 196), 32),
        ((8, 64, 784), 32),
        ((8, 64, 12544), 32),
        ((1, 3, 1), 1),
        ((8, 32, 5), 32),
    ],
)
def test_evonorm_s0(shape, groups, architecture, dtype, monkeypatch):
    found = collected(monkeypatch, evonorm_s0, architecture)
    x, parameter = torch.empty(shape, dtype=dtype), torch.empty(shape[1], dtype=dtype)
    _, mean, rstd = evonorm_s0.forward(x, parameter, parameter, parameter, groups, 1e-5)
    evonorm_s0.backward(x, x, parameter, parameter, mean, rstd, groups)
    check(found, {"forward", "backward"}, wide=shape[2] % 16 == 0)


@pytest.mark.parametrize(("width", "groups"), [(16, 0), (48, 4), (1000, 0), (1024, 1), (4096, 0), (8192, 1)])
def test_columns(width, groups, architecture, dtype, monkeypatch):
    found = collected(monkeypatch, columns, architecture)
    monkeypatch.setattr(columns, "sum_lines", lambda lines, dtypes: (lines[0, 0], lines[1, 0]))
    x, numbers = torch.empty(600, width, dtype=dtype), torch.empty(width)
    mask = torch.zeros(600, dtype=torch.bool)
    _, scales, _ = columns.forward(x, numbers, numbers, groups=groups, eps=1e-5, left_out=mask, summed=True)
    columns.forward(x, numbers, groups=groups, scales=scales)
    columns.forward(x, groups=groups, summed=True)
    columns.backward(x, x, numbers, numbers, scales=scales, summed=True)
    columns.backward(x, x, scales=scales, summed=True)
    check(found, {"forward", "backward"}, wide=False)
