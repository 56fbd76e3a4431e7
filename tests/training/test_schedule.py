import pytest

from normkit.training import step_decay, warmup_constant, warmup_cosine


def test_it_rises_to_one_and_falls_to_nearly_nothing() -> None:
    factors = [warmup_cosine(0.1)(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (k + 1) for k in range(10)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert 0 < factors[-1] < 1e-3


def test_without_warm_up_it_starts_at_one() -> None:
    assert warmup_cosine(0.0)(0, 10) == 1


@pytest.mark.parametrize("total", [1, 2, 3])
def test_short_runs_have_finite_factors(total: int) -> None:
    assert all(0 < warmup_cosine()(step, total) <= 1 for step in range(total))


@pytest.mark.parametrize("share", [-0.1, 1.0, 5.0])
def test_a_share_outside_its_range_is_named(share: float) -> None:
    with pytest.raises(ValueError, match="the share of steps that warm up"):
        warmup_cosine(share)


def test_warmup_constant_rises_and_stays() -> None:
    factor = warmup_constant(4)
    assert [factor(step, 10) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warmup_constant(0)(0, 10) == 1.0
    with pytest.raises(ValueError, match="steps is -1"):
        warmup_constant(-1)


def test_steps_fall_at_their_milestones_behind_a_warm_up() -> None:
    factors = [step_decay((0.5, 0.75), 0.1, warmup=0.02)(step, 160) for step in range(160)]
    assert factors[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert set(factors[4:80]) == {1.0}
    assert factors[80:120] == pytest.approx([0.1] * 40)
    assert factors[120:] == pytest.approx([0.01] * 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"milestones": (0.5, 80.0)}, "milestones is .* each is a share of the steps"),
        ({"factor": 0.0}, "factor is 0.0: it must be positive"),
        ({"warmup": 1.0}, "the share of steps that warm up"),
    ],
)
def test_steps_outside_their_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step_decay(**options)
