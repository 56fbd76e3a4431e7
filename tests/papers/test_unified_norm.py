"""The judge tells the paper from its opposite; outliers are where they are said to be, skips where they happen."""

from functools import partial

import pytest
import torch

from normkit import data
from normkit.nn import UnifiedNorm
from normkit.papers import Ledger, Records, Show, unified_norm
from normkit.papers.unified_norm import SPIKE, VISION, _digits, _spiked_at, _vision

FIGURES = {  # changed by name in the tests
    "filter, spiked": 0.87,
    "filter, clean": 0.89,
    "no filter, spiked": 0.73,
    "fewest": 5,
    "most": 4,
    "BN, batch 1": 2.6,
    "UN, batch 1": 2.42,
    "UN, post": 2.27,
    "UN slow, pre": 2.65,
    "UN quick, pre": 2.31,
    "left": 0,
    "float64": 1e-15,
    "float32": 1e-7,
    "ratio": 1.1,
}


def _records(figures: dict[str, float]) -> Records:
    accuracy = {("UN + filter", True): "filter, spiked", ("UN + filter", False): "filter, clean"}
    accuracy["UN", True] = "no filter, spiked"
    records = []
    for norm in VISION:
        for spiked in (True, False):
            filtered = norm == "UN + filter"
            records.append(
                {
                    "run": "spikes",
                    "norm": norm,
                    "spiked": spiked,
                    "accuracy": figures.get(accuracy.get((norm, spiked), ""), 0.8),
                    "nll": 0.5,
                    "skips": figures["most"] if filtered and not spiked else 30,
                    "fewest_at_spike": figures["fewest"] if filtered else 0,
                }
            )
    losses = [
        ("batch_of_one", "post", {"LN": 2.4, "BN": figures["BN, batch 1"], "UN": figures["UN, batch 1"]}),
        ("language_model", "post", {"LN": 2.26, "UN": figures["UN, post"]}),
        ("language_model", "pre", {"LN": 2.36, "UN": figures["UN slow, pre"]}),
        ("language_model", "pre", {"UN, momentum 0.5": figures["UN quick, pre"]}),
    ]
    for run, placement, found in losses:
        common = {"run": run, "placement": placement, "batch": 8, "batch_loss": 2.4, "skips": 0}
        records += [{**common, "norm": norm, "loss": loss} for norm, loss in found.items()]
    folded = {"run": "fusion", "norms": 7, **{name: figures[name] for name in ("left", "float64", "float32")}}
    timed = {"run": "fused_time", "peer": "LN (torch)", "ratio": figures["ratio"], "low": 1.0, "high": 1.2}
    return Records([{"seed": 0, **record} for record in (*records, folded, timed)])


def _failing(**changed: float) -> list[str]:
    claim = Ledger("embedded", 1)
    unified_norm.judge(_records(FIGURES | changed), claim, Show())
    assert sum(entry.holds is None for entry in claim.claims) == 3
    return [entry.statement for entry in claim.claims if entry.holds is False]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("no filter, spiked", 0.82, "with the filter above that without"),
        ("filter, clean", 0.92, "with the filter below its clean run's"),
        ("fewest", 0, "layers that skip an outlier batch"),
        ("most", 6, "skipped in a clean run"),
        ("UN, batch 1", 2.49, "what UN loses to LN over what BN loses"),
        ("UN, post", 2.30, "Post-LN, batch 8"),
        ("UN quick, pre", 2.40, "with momentum 0.5"),
        ("left", 1, "norms left after folding"),
        ("float64", 1e-11, "float64"),
        ("float32", 1e-4, "float32"),
        ("ratio", 1.04, "over the folded network's"),
    ],
)
def test_the_judge_tells_the_paper_from_its_opposite(name: str, value: float, said: str) -> None:
    assert _failing() == []
    (statement,) = _failing(**{name: value})
    assert said in statement


def test_a_batch_norm_that_loses_nothing_fails_its_claim() -> None:
    assert _failing(**{"BN, batch 1": 2.47})[0] == "batch 1: validation loss of BN above LN's, nats"


def test_outliers_stand_in_every_fortieth_batch_from_the_eightieth_on() -> None:
    assert [step for step in range(240) if _spiked_at(step)] == [80, 120, 160, 200]
    clean, spiked = _digits(82, 0, False), _digits(82, 0, True)
    different = [step for step in range(82) if not torch.equal(clean[step][0], spiked[step][0])]
    assert different == [80]
    torch.testing.assert_close(spiked[80][0][:2], SPIKE * clean[80][0][:2])
    assert torch.equal(spiked[80][0][2:], clean[80][0][2:])
    assert torch.equal(spiked[80][1], clean[80][1])


@pytest.mark.slow
def test_layers_skip_the_outlier_and_little_else() -> None:
    _, skips = _vision(partial(UnifiedNorm, warmup_iters=60, outlier_filtration=True), 90, 0, spikes=True)
    assert len(skips) == 90
    assert skips[80] >= 1
    assert sum(skips[:80]) <= 5


def test_the_same_digits_are_seen_by_every_norm() -> None:
    once, again = _digits(3, 1, False), _digits(3, 1, False)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(once, again, strict=True))
    assert len(data.digits()[0]) // 32 > 3
