"""The loss as a drop-in for torch's: constructor, checkpoint, representation, values."""

import copy

import pytest
import torch
from torch.testing import assert_close

from normkit.nn import CrossEntropyLoss

OPTIONS = (
    {},
    {"reduction": "none", "label_smoothing": 0.2},
    {"weight": torch.tensor([0.5, 2.0, 1.0]), "ignore_index": 1, "reduction": "sum"},
    {"reduction": "sum", "label_smoothing": 1.0},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_replaces_torchs(options: dict[str, object]) -> None:
    ours, torchs = CrossEntropyLoss(**options), torch.nn.CrossEntropyLoss(**options)
    assert repr(ours) == repr(torchs)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    ours.load_state_dict(torchs.state_dict())
    x, target = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 2])
    for loss in (ours, copy.deepcopy(ours)):
        assert_close(loss(x, target), torchs(x, target))
        wanted = torch.autograd.grad(torchs(x, target).sum(), x)
        assert_close(torch.autograd.grad(loss(x, target).sum(), x), wanted)


def test_autocast() -> None:
    x, target = torch.randn(4, 3, dtype=torch.bfloat16), torch.tensor([0, 1, 2, 2])
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(CrossEntropyLoss()(x, target), torch.nn.CrossEntropyLoss()(x, target), check_dtype=False)
