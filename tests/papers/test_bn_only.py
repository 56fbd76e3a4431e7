import numpy as np
import pytest

from normkit.data import Bunch, Meta
from normkit.papers import Context, Ledger, Records, Show, bn_only

ACCURACY = {"affine": 0.94, "output": 0.74, "random": 0.58}


def _verdicts(accuracy=ACCURACY, moved=0, trained=1120):
    records = Records(
        {
            "run": "frozen_features",
            "condition": condition,
            "depth": 14,
            "trained": {"affine": 1120, "random": trained}.get(condition, 650),
            "share": 0.0064,
            "accuracy": accuracy[condition],
            "moved": moved,
            "disabled": 0.02,
            "below_0.05": 0.08,
            "silent": 0.0,
            "gains": [0.5] if condition == "affine" else [],
            "seed": 0,
        }
        for condition in ACCURACY
    )
    claim = Ledger("embedded", 1)
    bn_only.judge(records, claim, Show())
    return [entry.holds for entry in claim.claims]


def test_the_judge_tells_the_paper_from_its_opposite():
    assert _verdicts() == [True] * 5 + [None] * 3
    assert _verdicts({"affine": 0.5, "output": 0.6, "random": 0.7})[:3] == [False, False, False]
    assert _verdicts(moved=1)[3] is False
    assert _verdicts(trained=1119)[4] is False


@pytest.mark.parametrize("condition", bn_only.CONDITIONS)
def test_a_run_says_what_moved(condition, monkeypatch):
    """A tensor that moves although it is frozen is counted, in each condition."""
    honest = bn_only._train(Context("smoke", 0), condition)
    assert honest["moved"] == 0

    def meddling(model, *args, **options):
        next(tensor for name, tensor in model.state_dict().items() if name.endswith(("conv.weight", ".base"))).add_(1)

    monkeypatch.setattr(bn_only.training, "fit", meddling)
    assert bn_only._train(Context("smoke", 0), condition)["moved"] >= 1


def test_the_papers_own_run_and_what_is_made_of_it():
    """On a handful of images: that the way runs, and that its figures reach the claims."""
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (160, 32, 32, 3), np.uint8), draw.integers(0, 10, 160)
    split = {"train": np.arange(128), "test": np.arange(128, 160)}
    bunch = Bunch(images, labels, split, Meta("cifar10", "", "", "", ""))
    figures = bn_only._cifar10(Context("full", 0), bunch, 8, 4, epochs=1)
    assert figures["trained"] == 168
    assert 0 <= figures["accuracy"] <= 1
    records = Records(
        {
            "run": "cifar10",
            "seed": 0,
            "depth": depth,
            "width": width,
            "trained": 1,
            "accuracy": {14: 0.4}.get(depth, 0.7),
        }
        for depth, width in bn_only.CIFAR10
    )
    claim = Ledger("full", 1)
    bn_only._judge_cifar10(records, claim)
    assert [entry.holds for entry in claim.claims] == [False, True]
