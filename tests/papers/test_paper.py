import pytest
import torch

from normkit.papers import Context
from tests.papers.toy import toy


def test_a_run_is_marked_per_scale_and_stays_callable():
    paper = toy()

    @paper.run(scale="smoke", minutes=0.1)
    @paper.run(scale="full", seeds=5, minutes=60)
    def measure(ctx):
        return [{"seed_seen": ctx.seed}]

    assert [(run.scale, run.seeds, run.name) for run in paper.runs] == [("full", 5, "measure"), ("smoke", 1, "measure")]
    assert paper.runs_at("embedded") == []
    assert measure(Context("smoke", 3)) == [{"seed_seen": 3}]


def test_a_wrong_mark_says_what_is_wrong():
    paper = toy()
    with pytest.raises(ValueError, match="'large' is none of smoke, embedded, full"):
        paper.run(scale="large", minutes=1)
    with pytest.raises(ValueError, match="at least one seed"):
        paper.run(scale="smoke", minutes=1, seeds=0)

    def measure(ctx):
        return []

    paper.run(scale="smoke", minutes=1)(measure)
    with pytest.raises(ValueError, match="already a run 'measure'"):
        paper.run(scale="smoke", minutes=1)(measure)
    paper.judge(lambda records, claim, show: None)
    with pytest.raises(ValueError, match="one judge"):
        paper.judge(lambda records, claim, show: None)


def test_context_picks_by_scale_and_its_generator_restarts():
    assert [Context(scale, 0).pick(smoke=1, embedded=2) for scale in ("smoke", "embedded", "full")] == [1, 2, 2]
    assert Context("full", 0).pick(smoke=1, embedded=2, full=0) == 0
    context = Context("smoke", 5)
    first, again = (torch.rand(3, generator=context.generator()) for _ in range(2))
    assert torch.equal(first, again)


def test_an_invariance_measures_its_gap_and_refuses_to_compare_nothing():
    paper = toy()

    @paper.invariance(tolerance=1e-3)
    def shifted(generator):
        """Sees a shift.

        More words.
        """
        x = torch.randn(4, generator=generator)
        return x + 0.25, x / x.abs().max()

    (invariance,) = paper.invariances
    assert invariance.statement == "Sees a shift"
    assert invariance.gap(0) == invariance.gap(0) != invariance.gap(1)

    @paper.invariance(tolerance=1e-3)
    def constant(generator):
        return torch.zeros(4), torch.zeros(4)

    @paper.invariance(tolerance=1e-3)
    def uneven(generator):
        return torch.zeros(4), torch.arange(3.0)

    with pytest.raises(ValueError, match="empty or constant"):
        paper.invariances[1].gap()
    with pytest.raises(ValueError, match="shapes differ"):
        paper.invariances[2].gap()


def test_to_dict_is_what_the_commands_print():
    card = toy(rule="fold").to_dict()
    assert {"slug", "title", "nuisance", "pathology", "remedy", "provides", "probe", "rule", "extra"} <= card.keys()
    assert card["provides"] == ["torch.nn.functional.normalize"]
    assert card["rule"] == "fold"
    assert card["probe"] is None
