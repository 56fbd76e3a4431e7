"""Closed rows: which columns are found to be parts of a whole, what is said of them, and what is left alone."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from normkit import data
from normkit.diagnosis import Diagnosis, Finding, diagnose, probes
from normkit.diagnosis.closed_rows import cancelled


def amounts(rows: int = 60, columns: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(sigma=0.6, size=(rows, columns))


def shares(rows: int = 60, columns: int = 6, seed: int = 0) -> np.ndarray:
    drawn = amounts(rows, columns, seed)
    return 100 * drawn / drawn.sum(1, keepdims=True)


def found(table: object) -> Finding:
    return diagnose(table)["closed-rows"]


def skipped(diagnosis: Diagnosis) -> dict[str, str]:
    return {each.probe: each.reason for each in diagnosis.skipped}


def test_the_figure_is_the_cancelled_variance() -> None:
    assert cancelled(shares()) == pytest.approx(1)
    independent = [cancelled(amounts(seed=seed)) for seed in range(200)]
    assert abs(np.mean(independent)) < 0.03
    doubled = np.column_stack([amounts()[:, 0]] * 3)
    assert cancelled(doubled) == pytest.approx(-2)  # three times the same: var(3x) = 9 var(x)


@pytest.mark.parametrize("digits", [0, 1, 3])
def test_rounded_shares_are_closed(digits: int) -> None:
    finding = found(shares().round(digits))
    assert finding.severity == "act"
    assert finding.figure > 0.99


@pytest.mark.parametrize("kind", [pd.DataFrame, torch.tensor, np.array], ids=["frame", "tensor", "array"])
def test_every_kind_of_table(kind: type) -> None:
    assert found(kind(shares())).severity == "act"
    assert found(kind(amounts())).severity == "ok"


def test_independent_amounts_are_hardly_ever_watched() -> None:
    severities = [found(amounts(rows=12, columns=4, seed=seed)).severity for seed in range(300)]
    assert severities.count("ok") >= 298


def test_parts_are_found_among_other_columns() -> None:
    draw = np.random.default_rng(2)
    frame = pd.DataFrame(shares(), columns=list("abcdef"))
    frame.insert(0, "id", range(60))
    frame = frame.assign(pH=draw.normal(7, 1, 60), depth=draw.uniform(0, 3, 60), site="east", flag=-frame["a"])
    finding = found(frame)
    assert finding.severity == "act"
    assert finding.sites[0].detail["parts"] == "'a', 'b', 'c', 'd', 'e', 'f'"
    assert finding.sites[0].detail["total"] == pytest.approx(100)
    line = finding.remedies[0].python
    assert line == ("normkit.estimators.PartialCorrelation().fit(table[['a', 'b', 'c', 'd', 'e', 'f']]).to_frame()")
    from normkit import estimators

    assert estimators.PartialCorrelation().fit(frame[list("abcdef")]).to_frame().shape == (6, 6)


def test_two_wholes_are_two_places() -> None:
    second = shares(seed=9)[:, :3]
    second = second / second.sum(1, keepdims=True)
    frame = pd.DataFrame(np.column_stack([shares(), second, amounts(columns=1)]), columns=list("abcdefuvwx"))
    sites = {site.detail["parts"]: site.severity for site in found(frame).sites}
    assert set(sites.values()) == {"act"}
    assert sites.keys() == {"'a', 'b', 'c', 'd', 'e', 'f'", "'u', 'v', 'w'"}


def test_a_missing_trace_is_watched_or_more() -> None:
    parts = shares(rows=200)
    parts[:, 0] *= 0.4
    parts = 100 * parts / parts.sum(1, keepdims=True)
    finding = found(parts[:, 1:])
    assert finding.severity == "watch"
    assert "nearly sum to a constant" in finding.summary


def test_what_correlations_hide_is_told() -> None:
    finding = found(data.dominated_compositions(500))
    detail = finding.sites[0].detail
    assert detail["dominating"] == "x0"
    assert detail["dominating_share"] > 0.5
    assert abs(detail["correlation"]) > 0.5
    assert "so their correlations are spurious" in finding.summary
    assert detail["misleading_pair"] in finding.summary


def test_zeros_are_counted_and_the_remedy_has_a_rule_for_them() -> None:
    drawn = amounts()
    drawn[:15, 2] = 0
    finding = found(100 * drawn / drawn.sum(1, keepdims=True))
    assert finding.sites[0].detail["zeros"] == pytest.approx(15 / 360)
    assert 'PartialCorrelation(zeros="multiplicative")' in finding.remedies[0].python


def test_indicators_and_two_shares_hide_nothing() -> None:
    draw = np.random.default_rng(0)
    indicators = np.eye(4)[draw.integers(0, 4, 60)]
    share = draw.uniform(size=60)
    pair = np.column_stack([share, 1 - share])
    for columns in (indicators, pair):
        reason = skipped(diagnose(np.column_stack([columns, amounts(columns=2)])))["closed-rows"]
        assert reason.startswith("the columns that sum to a constant are indicators or two shares")
        assert found(np.column_stack([columns, amounts(columns=3)])).severity == "ok"
        assert found(np.column_stack([columns, shares()])).severity == "act"


def test_wholes_side_by_side_are_told_apart() -> None:
    draw = np.random.default_rng(1)
    pairs = [np.column_stack([share, 1 - share]) for share in draw.uniform(size=(2, 200))]
    hot = [np.eye(width)[draw.integers(width, size=200)] for width in (3, 4)]
    small = [amounts(200, width, seed) for width, seed in ((4, 1), (3, 2))]
    wholes = [each / each.sum(1, keepdims=True) for each in small]
    for harmless in (pairs, hot, [pairs[0], hot[0]]):
        assert "indicators or two shares" in skipped(diagnose(np.column_stack(harmless)))["closed-rows"]
    for tables, wanted in (
        ([hot[0], wholes[0]], {"'x3', 'x4', 'x5', 'x6'"}),
        ([wholes[0], pairs[0]], {"'x0', 'x1', 'x2', 'x3'"}),
        (wholes, {"'x0', 'x1', 'x2', 'x3'", "'x4', 'x5', 'x6'"}),
        ([each.round(2) for each in wholes], {"'x0', 'x1', 'x2', 'x3'", "'x4', 'x5', 'x6'"}),
    ):
        finding = found(np.column_stack(tables))
        assert {site.detail["parts"] for site in finding.sites} == wanted
        assert finding.severity == "act"


def test_rows_without_anything_are_left_out_and_counted() -> None:
    table = shares(rows=300)
    table[[5, 9]] = 0
    finding = found(table)
    assert finding.severity == "act"
    assert finding.figure == pytest.approx(1)
    assert finding.sites[0].detail["empty_rows"] == 2


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (shares(rows=9), "9 rows without a gap are too few: at least 10"),
        (np.where(np.eye(60, 6) > 0, np.nan, shares())[:15], "9 rows without a gap"),
        (shares(columns=2), "fewer than three columns"),
        (amounts() - 5, "fewer than three columns"),
        (np.ones((20, 5)), "fewer than three columns"),
    ],
)
def test_tables_that_cannot_be_judged(table: np.ndarray, reason: str) -> None:
    assert reason in skipped(diagnose(table))["closed-rows"]


def test_many_columns_of_few_rows() -> None:
    assert found(shares(rows=12, columns=40)).severity == "act"
    assert found(amounts(rows=12, columns=40)).severity == "ok"
    wide = found(shares(rows=12, columns=1100))
    assert wide.severity == "act"
    assert "misleading_pair" not in wide.sites[0].detail


def test_models_and_tables_are_each_told_from_the_other() -> None:
    of_table = skipped(diagnose(shares()))
    assert of_table.keys() == probes().keys() - {"closed-rows"}
    assert set(of_table.values()) == {"it examines models: diagnose(model, data)"}
    of_model = skipped(diagnose(nn.Linear(3, 2), [torch.randn(4, 3)]))
    assert of_model["closed-rows"] == "it examines tables: diagnose(table)"
    with pytest.raises(TypeError, match="data is missing"):
        diagnose(nn.Linear(3, 2))
    with pytest.raises(TypeError, match=r"a list: an nn.Module is wanted"):
        diagnose([[1.0, 2.0]])


def test_the_page_and_the_text_of_a_table(tmp_path) -> None:  # type: ignore[no-untyped-def]
    diagnosis = diagnose(shares())
    assert "<svg" in diagnosis.report(tmp_path / "report.html").read_text()
    assert str(diagnosis).count("it examines models") == 1  # the probes that it concerns stand in one line
