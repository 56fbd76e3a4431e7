"""Closed rows: which columns are found to be parts of a whole, what is said of them, and what is left alone."""

import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import normkit
from normkit import data
from normkit.diagnosis import Diagnosis, Finding, diagnose, probes
from normkit.diagnosis.closed_rows import cancelled
from normkit.estimators import partial_correlation


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


NAMES = {
    "strings": list("abcdef"),
    "numbers": [3, 1, 4, 0, 5, 9],
    "numpy numbers": list(np.array([3, 1, 4, 0, 5, 9])),
    "strings and numbers": ["a", 1, "c", 0, "e", 9],
    "quotes, spaces, letters": ["it's", 'a "b"', "x y", "é漢", "back\\slash", "new\nline"],
    "levels": [("top", each) for each in "abcdef"],
    "alike": ["a", "b", "b", "a", "c", "d"],
    "times": list(pd.date_range("2020-01-01", periods=6)),
    "shares": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
}


def run(line: str, table: object) -> pd.DataFrame:
    """What the printed line gives, in a session that has imported normkit and nothing else."""
    scope = {"normkit": normkit, "table": table}
    return eval(line, scope)  # the line is what is tested


@pytest.mark.parametrize("gap", [None, np.nan, np.inf, 0.0], ids=["whole", "NaN", "inf", "empty row"])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_the_line_for_a_frame_runs_as_printed(names: list[object], gap: float | None) -> None:
    parts = shares()
    if gap is not None:
        parts[7] = gap
    frame = pd.DataFrame(parts, columns=names)
    frame.insert(2, "site", "east")
    frame.insert(0, "pH", -1.0, allow_duplicates=True)
    finding = found(frame)
    assert finding.severity == "act"
    (remedy,) = finding.remedies
    result = run(remedy.python, frame)
    if not remedy.python.count("iloc"):
        assert list(result.columns) == [str(name) if "rename" in remedy.python else name for name in names]
    complete = parts if gap is None else np.delete(parts, 7, 0)
    np.testing.assert_allclose(result.to_numpy(), partial_correlation(complete), atol=1e-12)
    assert remedy.shell == ""


@pytest.mark.parametrize("gap", [None, np.nan, np.inf, 0.0], ids=["whole", "NaN", "inf", "empty row"])
@pytest.mark.parametrize("columns", [4, 20])
@pytest.mark.parametrize("kind", [np.array, torch.tensor], ids=["array", "tensor"])
def test_the_line_for_an_array_runs_as_printed(kind: Any, columns: int, gap: float | None) -> None:
    parts = shares(200, columns)
    if gap is not None:
        parts[7] = gap
    complete = parts if gap is None else np.delete(parts, 7, 0)
    among = np.insert(parts, 2, -1.0, axis=1)
    beside = np.column_stack([np.full(200, -1.0), parts])
    for table in (kind(parts), kind(among), kind(beside)):
        (remedy,) = found(table).remedies
        np.testing.assert_allclose(run(remedy.python, table), partial_correlation(complete), atol=1e-12)
        assert len(remedy.python) < 330
    if columns == 4:
        assert "table[:, [0, 1, 3, 4]]" in found(np.insert(shares(200, 4), 2, -1.0, axis=1)).remedies[0].python


def test_many_columns_side_by_side_are_a_slice() -> None:
    frame = pd.DataFrame(shares(300, 40), columns=[f"taxon {number}" for number in range(40)])
    for table, line in (
        (frame, "fit(table)"),
        (frame.assign(pH=-7.0), "fit(table.drop(columns=['pH']))"),
        (frame.join(pd.DataFrame(-1.0, frame.index, range(13))), "fit(table.iloc[:, 0:40])"),
        (frame.to_numpy(), "fit(table)"),
        (frame.assign(pH=-7.0).to_numpy(), "fit(table[:, 0:40])"),
        (data.as_table(frame.to_numpy()), "fit(table)"),
        (data.Table(tuple(frame.columns), frame.to_numpy()), "fit(table.to_frame())"),
    ):
        (remedy,) = found(table).remedies
        assert line in remedy.python
        source = table.source if isinstance(table, data.Table) and table.source is not None else table
        assert run(remedy.python, source).shape == (40, 40)


@pytest.mark.parametrize(("header", "name"), [("auto", 'a "b"'), ("auto", "$(ls)"), ("auto", "b"), ("yes", "0")])
def test_the_lines_for_a_file_run_as_printed(tmp_path: Path, header: str, name: str) -> None:
    file = tmp_path / "my table's.csv"
    names = ["Si", "it's", name, "x y", "é漢", "zero"]
    frame = pd.DataFrame(shares().round(3), columns=names)
    frame.loc[3, "x y"] = np.nan
    frame.insert(1, "site", "east")
    frame.to_csv(file, index=False)
    (remedy,) = found(data.read_table(file, header)).remedies
    result = run(remedy.python, None)
    assert list(result.columns) == names
    program = shlex.split(remedy.shell)
    assert program[:2] == ["python", "-c"]
    printed = StringIO()
    with redirect_stdout(printed):
        exec(program[2], {})
    assert printed.getvalue() == f"{result}\n"


def test_gaps_elsewhere_do_not_matter() -> None:
    frame = pd.DataFrame(shares(), columns=list("abcdef")).assign(pH=np.nan, depth=-1.0)
    frame.loc[:35, "depth"] = np.nan
    frame.loc[3, "pH"] = 7.0
    finding = found(frame)
    assert finding.figure == pytest.approx(1)
    assert "dropna" not in finding.remedies[0].python
    assert run(finding.remedies[0].python, frame).shape == (6, 6)


def test_zeros_in_rows_that_are_left_out_need_no_rule() -> None:
    parts = shares()
    parts[4] = 0
    parts[5, :2] = 0, np.nan
    line = found(parts).remedies[0].python
    assert "multiplicative" not in line
    assert run(line, parts).shape == (6, 6)


def test_what_the_total_is_is_said_as_it_is() -> None:
    assert "sum to 100 in every row, so" in found(shares()).summary
    rounded = found(shares().round(0))
    detail = rounded.sites[0].detail
    assert detail["lowest_total"] < 100 < detail["highest_total"]
    wanted = f"in every row ({detail['lowest_total']:.4g} to {detail['highest_total']:.4g}), so"
    assert f"sum to about {detail['total']:.4g} {wanted}" in rounded.summary
    empty = shares()
    empty[3] = 0
    assert "sum to 100 in every row that is not empty, so" in found(empty).summary


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


def test_a_row_of_totals_is_pointed_at() -> None:
    table = np.vstack((shares(), shares().sum(0)))
    finding = found(table)
    assert finding.severity == "ok"
    assert "but for 1 of 61 rows they would, to 100 (row 60 with 6000)" in finding.summary
    assert "rows they would" not in found(amounts()).summary


def test_counts_are_said_to_be_parts_all_the_same() -> None:
    counts = np.random.default_rng(0).poisson(20 * amounts())
    assert "if they are counts" in found(counts).summary
    assert "if they are counts" not in found(amounts()).summary


def test_long_names_leave_room_for_the_picture(tmp_path: Path) -> None:
    names = [f"the abundance of the taxon that is called {number}" for number in range(6)]
    diagnosis = diagnose(pd.DataFrame(shares(), columns=names))
    page = diagnosis.report(tmp_path / "report.html")  # a picture without room would be a warning, and so an error
    assert names[0] in Path(page).read_text(encoding="utf-8")
