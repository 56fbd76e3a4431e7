from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from normkit.training import cross_entropy

LOGITS = torch.randn(6, 4)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def test_it_is_torchs_cross_entropy() -> None:
    assert torch.equal(cross_entropy(LOGITS, (None, LABELS)), F.cross_entropy(LOGITS, LABELS))


def test_language_models_and_images() -> None:
    words, target = torch.randn(2, 5, 4), torch.randint(4, (2, 5))
    expected = F.cross_entropy(words.transpose(1, 2), target)
    assert torch.allclose(cross_entropy(words, (None, target)), expected)
    assert torch.allclose(cross_entropy(words.transpose(1, 2), (None, target)), expected)


def test_the_models_own_loss_is_taken() -> None:
    own = torch.tensor(3.0)
    assert cross_entropy(SimpleNamespace(loss=own, logits=LOGITS), {}) is own
    assert cross_entropy({"loss": own}, {}) is own


def test_ignored_labels_are_no_labels_out_of_range() -> None:
    labels = torch.tensor([0, -100, 2, -100, 0, 1])
    assert torch.equal(cross_entropy(LOGITS, (None, labels)), F.cross_entropy(LOGITS, labels))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.tensor([0, 1, 2, 4, 0, 1]), r"a label is 4, and the model has 4 outputs \(labels 0 to 3\)"),
        (torch.tensor([1, 2, 3, 4, 1, 1]), "do the labels start at 1"),
        (torch.tensor([0, -1, 0, 0, 0, 0]), "a label is -1"),
        (torch.zeros(6), "cross entropy wants class numbers"),
        (torch.zeros(5, dtype=torch.int64), r"shape \(6, 4\) and the targets \(5,\)"),
    ],
)
def test_wrong_targets_are_named(labels: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cross_entropy(LOGITS, (torch.zeros(6), labels))


def test_missing_targets_are_named() -> None:
    with pytest.raises(ValueError, match="no targets"):
        cross_entropy(LOGITS, torch.zeros(6))
