import pytest

from normkit.papers import Show, reproduce
from tests.papers.toy import paper


def test_a_table_has_a_cell_for_every_header():
    with pytest.raises(ValueError, match="2 headers, but a row of 1"):
        Show().table(["a", "b"], [[1]])


def test_a_figure_is_drawn_only_when_the_report_is_made():
    evidence = reproduce(paper, scale="smoke")
    drawn = []
    show = Show()
    show.figure(drawn.append, caption="c", alt="a")
    evidence.exhibits[:] = show.exhibits
    assert drawn == []
    assert "<svg" in evidence.report().html()
    assert len(drawn) == 1


def test_the_report_says_how_many_claims_do_not_hold():
    html = reproduce(paper, n_jobs=1).report().html()
    assert "1 of 3 judged claims do not hold here" in html
    assert "needs a larger machine" in html
    assert "normkit reproduce toy --scale embedded --seed 0" in html
