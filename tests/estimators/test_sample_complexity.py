import pytest

from normkit.estimators import sample_complexity_report


@pytest.mark.parametrize(
    ("d", "n", "expected"),
    [
        (12, 1820, "kernel"),
        (12, 1819, "layerwise"),
        (12, 1151, "neither"),
        (16, 2048, "layerwise"),
        (16, 4845, "kernel"),
    ],
)
def test_who_can_be_expected_to_work(d: int, n: int, expected: str) -> None:
    report = sample_complexity_report(d, 2, 2, n)
    assert report.expected == expected
    assert f"n = {n:,}" in str(report)


def test_the_numbers() -> None:
    report = sample_complexity_report(20, 2, 2, 3200)
    assert (report.samples_per_feature, report.feature_dimension, report.target_dimension) == (8, 231, 10_626)


@pytest.mark.parametrize("name", ["d", "k", "q", "n"])
def test_numbers_are_at_least_1(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0: it must be at least 1"):
        sample_complexity_report(**{"d": 3, "k": 2, "q": 2, "n": 9} | {name: 0})
