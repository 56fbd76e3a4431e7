"""Cross-entropy with class indices: every option, tiles and chunks, against the reference."""

from functools import partial

import pytest
import torch

from normkit import functional as F
from normkit.kernels.triton import availability, cross_entropy
from tests.kernels.triton.comparison import DTYPES, agree, close, normal

pytestmark = pytest.mark.skipif(bool(availability.WHY_NOT), reason=availability.WHY_NOT)


def classes(width, *shape, device):
    return torch.randint(width, shape).to(device)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_option(weighted, smoothing, reduction, long, device, request):
    if long:
        request.getfixturevalue("narrow")
    width = 257 if long else 24
    target = classes(width, 5, device=device)
    target[2] = 7
    weight = torch.rand(width, device=device) + 0.1 if weighted else None

    def loss(x, kernel):
        w = weight if weight is None or kernel == "triton" else weight.double()
        options = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": 7}
        return F.cross_entropy(x, target, w, kernel=kernel, **options)

    agree(loss, [normal(5, width, dtype=torch.float32, device=device, scale=4)], torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 1), (70, 10), (3, 1000), (2, 2048)])
def test_widths(shape, dtype, device):
    target = classes(shape[1], shape[0], device=device)
    agree(partial(F.cross_entropy, target=target), [normal(*shape, dtype=dtype, device=device, scale=4)], dtype)


def test_one_sample_and_classes_that_lie_last(device):
    x = normal(6, dtype=torch.float32, device=device)
    agree(partial(F.cross_entropy, target=torch.tensor(2, device=device)), [x], torch.float32)
    image = normal(2, 3, 4, dtype=torch.float32, device=device).movedim(-1, 1)
    target = classes(4, 2, 3, device=device)
    ours = F.cross_entropy(image, target, reduction="none", kernel="triton")
    close(ours, F.cross_entropy(image.double(), target, reduction="none", kernel="reference"), 1e-6)
    assert "neighbours" in cross_entropy.supports("cross_entropy", image.contiguous(), target)


def test_special_rows_as_torch(device):
    rows = [[0.0, torch.inf, 1.0], [0.0, torch.nan, 1.0], [-torch.inf] * 3, [-torch.inf, 2.0, -torch.inf], [3e38, 0, 0]]
    x, target = torch.tensor(rows, device=device), torch.tensor([0, 0, 1, 1, 0], device=device)
    ours = F.cross_entropy(x, target, reduction="none", kernel="triton")
    close(ours, torch.nn.functional.cross_entropy(x, target, reduction="none").double(), 1e-6)


def test_all_ignored_and_classes_that_do_not_exist(device):
    x = normal(3, 5, dtype=torch.float32, device=device).requires_grad_()
    ignored = torch.full((3,), -100, device=device)
    assert F.cross_entropy(x, ignored, kernel="triton").isnan()
    loss = F.cross_entropy(x, ignored, reduction="sum", kernel="triton")
    assert loss == 0
    assert not torch.autograd.grad(loss, x)[0].any()
    losses = F.cross_entropy(x, torch.tensor([1, 5, -1], device=device), reduction="none", kernel="triton")
    assert losses.isnan().tolist() == [False, True, True]
    assert torch.autograd.grad(losses[1], x)[0][1].isnan().all()


def test_second_derivative(device):
    x, target = normal(3, 5, dtype=torch.float32, device=device).requires_grad_(), torch.tensor([0, 1, 2]).to(device)
    found = []
    for kernel in ("triton", "reference"):
        (first,) = torch.autograd.grad(F.cross_entropy(x, target, kernel=kernel), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0])
    close(*found, 1e-5)


def test_what_is_refused_and_why(device):
    x, target = torch.zeros(2, 3, device=device), torch.zeros(2, dtype=torch.int64, device=device)
    weight = torch.ones(3, device=device, requires_grad=True)
    assert "class indices" in cross_entropy.supports("cross_entropy", x, x)
    assert "gradient" in cross_entropy.supports("cross_entropy", x, target, weight)
    assert "float64" in cross_entropy.supports("cross_entropy", x.double(), target)


@pytest.mark.parametrize("how", ["anomaly", "blocking"])
def test_who_looks_for_a_fault_gets_an_error_for_a_class_that_does_not_exist(how, device, monkeypatch):
    if how == "blocking":
        monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    x = normal(3, 5, dtype=torch.float32, device=device)
    with torch.autograd.set_detect_anomaly(how == "anomaly"):
        for wrong in (5, -1):
            target = torch.tensor([1, wrong, -100], device=device)
            with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds: there are 5 classes"):
                F.cross_entropy(x, target, kernel="triton")
        assert F.cross_entropy(x, torch.tensor([1, 4, -100], device=device), kernel="triton").isfinite()
