import math

import pytest

from normkit.comparison import interval


def test_it_is_students_interval() -> None:
    """Mean 2, s = 1, n = 3: half width 4.302653 / √3 (table of the t distribution, 2 degrees of freedom)."""
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_one_run_says_nothing_of_the_spread() -> None:
    assert interval([0.5]).to_dict() == {"mean": 0.5, "low": None, "high": None}
    assert str(interval([0.5])) == "0.500"
    with pytest.raises(ValueError, match="at least one run"):
        interval([])
