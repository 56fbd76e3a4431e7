import math

import pytest

from normkit.papers import Records

RECORDS = Records(
    [
        {"norm": "layer", "batch": 2, "error": 0.1, "seed": 0},
        {"norm": "layer", "batch": 2, "error": 0.3, "seed": 1},
        {"norm": "batch", "batch": 2, "error": 0.5, "seed": 0},
        {"norm": "batch", "batch": None, "error": 0.7, "seed": 1},
    ]
)


def test_records_answer_by_field():
    assert RECORDS.mean("error", norm="layer") == pytest.approx(0.2)
    assert RECORDS.values("error", norm="batch", batch=2) == [0.5]
    assert RECORDS.values("error", batch=None) == [0.7]
    assert RECORDS.largest("error") == 0.7
    assert RECORDS.smallest("error") == 0.1
    assert RECORDS.distinct("norm") == ["layer", "batch"]
    assert RECORDS.seeds == 2
    assert {key: group.mean("error") for key, group in RECORDS.groups("norm").items()} == {
        ("layer",): pytest.approx(0.2),
        ("batch",): pytest.approx(0.6),
    }
    assert RECORDS.groups("norm", "loss") == {}


def test_a_figure_that_was_not_measured_is_an_error_and_not_a_zero():
    with pytest.raises(LookupError, match="no record holds 'error' with norm='group'"):
        RECORDS.mean("error", norm="group")
    with pytest.raises(LookupError, match="'loss' with no condition"):
        RECORDS.values("loss")


def test_an_absent_field_is_not_none():
    assert Records([{"error": 1.0}]).where(norm=None) == []


@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_never_lost_in_an_extreme(place):
    figures = [1.0, 2.0]
    figures.insert(place, math.nan)
    records = Records({"error": value} for value in figures)
    assert math.isnan(records.largest("error"))
    assert math.isnan(records.smallest("error"))
