from normkit.papers._harness import claims_page
from normkit.papers._harness.everything import Outcome, reproduce_all
from tests.papers.toy import paper, toy


def test_the_page_prints_every_verdict_and_every_paper():
    outcomes = [*reproduce_all(among=[paper]), Outcome(toy("absent"), error="needs more")]
    text = claims_page.page(outcomes)
    assert "| mean of uniform numbers | 0.4 … 0.6 |" in text
    assert "**does not hold**" in text
    assert "not judged: needs a larger machine" in text
    assert "## absent" in text
    assert "Not run: needs more" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {7}


def test_the_command_writes_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_page, "reproduce_all", lambda **kw: reproduce_all(among=[paper], **kw))
    target = tmp_path / "claims.md"
    code = claims_page.main(["--scale", "smoke", "--out", str(tmp_path / "out"), "--page", str(target)])
    assert code == 0
    assert "# Claims" in target.read_text()
