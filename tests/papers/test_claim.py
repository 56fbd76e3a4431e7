import math

import pytest

from normkit.papers import Ledger


@pytest.mark.parametrize(
    ("bound", "measured", "holds"),
    [
        ({"at_most": 1.0}, 1.0, True),
        ({"at_most": 1.0}, 1.1, False),
        ({"at_least": 1.0}, 1.0, True),
        ({"at_least": 1.0}, 0.9, False),
        ({"between": (0.0, 1.0)}, 0.5, True),
        ({"between": (0.0, 1.0)}, -0.1, False),
        ({"equals": 24}, 24, True),
        ({"equals": True}, False, False),
        ({"at_most": 1.0}, math.nan, False),
        ({"at_least": 1.0}, math.nan, False),
        ({"between": (0.0, 1.0)}, math.nan, False),
        ({"at_most": 1.0}, -math.inf, True),
    ],
)
def test_holds_is_computed_from_bound_and_figure(bound, measured, holds):
    claim = Ledger("embedded", 3)("a", measured, source="table 1", **bound)
    assert claim.holds is holds
    assert (claim.n, claim.reason, claim.source) == (3, None, "table 1")


def test_nothing_is_judged_at_smoke_scale_or_against_a_reason():
    smoke = Ledger("smoke", 1)("a", 5.0, at_most=1.0, source="s")
    assert smoke.holds is None
    assert smoke.measured == 5.0
    assert "smoke" in smoke.reason
    excused = Ledger("full", 1)("a", 5.0, at_most=1.0, source="s", reason="needs a GPU")
    assert (excused.holds, excused.reason, excused.verdict) == (None, "needs a GPU", "not judged")
    assert Ledger("full", 2)("a", at_most=1.0, source="s", reason="needs a GPU").n == 0


def test_a_claim_without_a_bound_or_a_figure_is_refused():
    claim = Ledger("embedded", 1)
    with pytest.raises(ValueError, match="needs one of at_most, at_least, between, equals; got 0"):
        claim("a", 1.0, source="s")
    with pytest.raises(ValueError, match="got 2"):
        claim("a", 1.0, at_most=1.0, at_least=0.0, source="s")
    with pytest.raises(ValueError, match="neither a measured figure nor a reason"):
        claim("a", at_most=1.0, source="s")


def test_texts_for_tables():
    claim = Ledger("embedded", 1)
    assert claim("a", 0.123456, at_most=0.5, source="s").measured_text == "0.1235"
    assert claim("a", 1.0, between=(0.5, 2), source="s").bound_text == "0.5 … 2"
    assert claim("a", True, equals=True, source="s").bound_text == "= yes"
    assert claim("a", at_least=2, source="s", reason="later").measured_text == "–"
    assert claim("a", 3, equals=3, source="s").to_dict()["bound"] == {"equals": 3}
