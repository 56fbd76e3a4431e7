import pytest

from normkit.papers import Context, Ledger, Records, Show, layer_norm
from normkit.papers._layer_norm_recurrent import SETTINGS
from normkit.papers.layer_norm import BLIND, NORMS, invariances


def _recurrent(saturated, gradients, losses, accuracies):
    dynamics = [
        {"run": "dynamics", "scale": 4.0, "norm": norm, "saturated": share, "gradient": gradient, "seed": 0}
        for norm, share, gradient in zip(("none", "LN"), (0.5, saturated), gradients, strict=True)
    ]
    digits = [
        {"norm": norm, "loss": loss, "accuracy": accuracy, "losses": [loss]}
        for norm, loss, accuracy in zip(("none", "LN"), losses, accuracies, strict=True)
    ]
    settings = [{"run": "digit_sequences", "lr": lr, "weights": scale, "seed": 0} for lr, scale in SETTINGS]
    return dynamics + [setting | figures for setting in settings for figures in digits]


def _verdicts(
    ln=0.05, bn=0.2, gaps=None, saturated=0.01, gradients=(1e18, 1e2), losses=(1.6, 1.2), accuracies=(0.4, 0.7)
):
    table = gaps or invariances(Context("smoke", 0))
    errors = [
        {"run": "small_batches", "batch": batch, "norm": norm, "error": error, "nll": 0.1, "seed": 0}
        for batch, figures in ((128, (0.04, 0.01, 0.02)), (2, (0.07, bn, ln)))
        for norm, error in zip(("none", "BN", "LN"), figures, strict=True)
    ]
    claim = Ledger("embedded", 1)
    records = [r | {"run": "invariances", "seed": 0} for r in table] + errors
    layer_norm.judge(Records(records + _recurrent(saturated, gradients, losses, accuracies)), claim, Show())
    return [entry.holds for entry in claim.claims]


def test_the_judge_tells_the_paper_from_its_opposite():
    assert _verdicts() == [True] * 12 + [None] * 3
    assert _verdicts(ln=0.1)[1:3] == [False, True]
    assert _verdicts(bn=0.06)[1:3] == [True, False]
    assert _verdicts(saturated=0.1)[4:7] == [False, True, True]
    assert _verdicts(gradients=(1e18, 1e7))[4:7] == [True, False, True]
    assert _verdicts(gradients=(1e3, 1e2))[4:7] == [True, True, False]
    assert _verdicts(losses=(1.2, 1.6))[7:12] == [False] * 4 + [True]
    assert _verdicts(accuracies=(0.6, 0.7))[7:12] == [True] * 4 + [False]


@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_a_table_of_one_kind_of_cell_is_not_the_papers(gap):
    assert _verdicts(gaps=[{"change": c, "norm": n, "gap": gap} for c in BLIND for n in NORMS])[0] is False


@pytest.mark.parametrize("seed", range(5))
def test_the_invariance_table_is_the_papers_whatever_the_draw(seed):
    cells = {(r["change"], r["norm"]): r["gap"] for r in invariances(Context("smoke", seed))}
    assert len(cells) == 24
    for (change, norm), gap in cells.items():
        assert gap <= 1e-9 if norm in BLIND[change] else gap > 1e-3, (change, norm, gap)
