import pytest

from normkit.papers import Context, Ledger, Records, Show, layer_norm
from normkit.papers.layer_norm import BLIND, NORMS, invariances


def _verdicts(ln=0.05, bn=0.2, gaps=None):
    table = gaps or invariances(Context("smoke", 0))
    errors = [
        {"run": "small_batches", "batch": batch, "norm": norm, "error": error, "nll": 0.1, "seed": 0}
        for batch, figures in ((128, (0.04, 0.01, 0.02)), (2, (0.07, bn, ln)))
        for norm, error in zip(("none", "BN", "LN"), figures, strict=True)
    ]
    claim = Ledger("embedded", 1)
    layer_norm.judge(Records([r | {"run": "invariances", "seed": 0} for r in table] + errors), claim, Show())
    return [entry.holds for entry in claim.claims]


def test_the_judge_tells_the_paper_from_its_opposite():
    assert _verdicts() == [True, True, True, True, None, None, None]
    assert _verdicts(ln=0.1)[1:3] == [False, True]
    assert _verdicts(bn=0.06)[1:3] == [True, False]


@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_a_table_of_one_kind_of_cell_is_not_the_papers(gap):
    assert _verdicts(gaps=[{"change": c, "norm": n, "gap": gap} for c in BLIND for n in NORMS])[0] is False


@pytest.mark.parametrize("seed", range(5))
def test_the_invariance_table_is_the_papers_whatever_the_draw(seed):
    cells = {(r["change"], r["norm"]): r["gap"] for r in invariances(Context("smoke", seed))}
    assert len(cells) == 24
    for (change, norm), gap in cells.items():
        assert gap <= 1e-9 if norm in BLIND[change] else gap > 1e-3, (change, norm, gap)
