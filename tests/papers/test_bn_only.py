import pytest

from normkit.papers import Ledger, Records, Show, bn_only

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
    from normkit.papers import Context

    honest = bn_only._train(Context("smoke", 0), condition)
    assert honest["moved"] == 0

    def meddling(model, *args, **options):
        next(tensor for name, tensor in model.state_dict().items() if name.endswith(("conv.weight", ".base"))).add_(1)

    monkeypatch.setattr(bn_only.training, "fit", meddling)
    assert bn_only._train(Context("smoke", 0), condition)["moved"] >= 1
