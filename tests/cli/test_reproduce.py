import json
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from normkit.cli import main
from normkit.papers import papers
from normkit.papers._harness import registry
from tests.papers import toy


@pytest.fixture
def normkit(monkeypatch, capsys):
    """Run the command line with the toy paper registered: (exit code, stdout, stderr)."""
    points = EntryPoints([EntryPoint(name="toy", value="tests.papers.toy:paper", group="normkit.papers")])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["normkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run


def test_json_is_one_object_with_the_claims(normkit):
    code, out, _ = normkit("reproduce", "toy", "--json")
    assert code == 0
    payload = json.loads(out)
    assert (payload["slug"], payload["scale"]) == ("toy", "embedded")
    assert [claim["holds"] for claim in payload["claims"]] == [True, False, None, True]
    assert payload["claims"][0].keys() == {"statement", "bound", "measured", "n", "holds", "reason", "source"}
    assert {"schema", "versions", "device", "seconds"} <= payload.keys()


def test_strict_exits_with_1_where_a_claim_fails(normkit):
    assert normkit("reproduce", "toy", "--strict")[0] == 1
    assert normkit("reproduce", "toy", "--strict", "--scale", "smoke")[0] == 0


def test_a_person_sees_every_claim_and_where_the_report_is(normkit, tmp_path):
    code, out, _ = normkit("reproduce", "toy", "--scale", "smoke", "--out", tmp_path)
    assert code == 0
    words = " ".join(out.replace("│", " ").split())
    assert "mean of uniform" in words
    assert "needs a" in words
    assert (tmp_path / "toy" / "report.html").exists()
    assert "report:" in out


def test_a_reason_that_all_claims_share_is_said_once(normkit):
    code, out, _ = normkit("reproduce", "toy", "--scale", "smoke")
    assert code == 0
    words = " ".join(out.replace("│", " ").split())
    assert words.count("smoke scale: the whole way runs, nothing is judged") == 1
    assert "not judged, where nothing else is said: smoke scale" in words


def test_all_runs_every_paper_and_resumes(normkit, tmp_path, monkeypatch):
    monkeypatch.setattr("normkit.cli.reproduce.papers", lambda: [toy.paper])
    assert normkit("reproduce", "--all", "--out", tmp_path)[0] == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "toy" / "records").iterdir()}
    code, out, _ = normkit("reproduce", "--all", "--out", tmp_path, "--json")
    assert code == 0
    assert [paper["slug"] for paper in json.loads(out)["papers"]] == ["toy"]
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "toy" / "records").iterdir()}


def test_all_says_what_did_not_run_and_exits_with_2(normkit, tmp_path, monkeypatch):
    monkeypatch.setattr("normkit.cli.reproduce.papers", lambda: [toy.paper])
    monkeypatch.setenv(toy.FAIL, "0")
    code, out, _ = normkit("reproduce", "--all", "--scale", "smoke", "--out", tmp_path)
    assert code == 2
    assert "asked to fail" in " ".join(out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("reproduce", "toi"), "did you mean toy"),
        (("reproduce",), "name one paper or say --all"),
        (("reproduce", "toy", "--all"), "name one paper or say --all"),
        (("reproduce", "toy", "--scale", "huge"), "is none of smoke, embedded, full"),
        (("reproduce", "toy", "--scale", "full"), "has no run at scale 'full'; it has: embedded, smoke"),
        (("reproduce", "toy", "--out", "/proc/none"), "/proc/none"),
        (("show", "toi"), "did you mean toy"),
    ],
)
def test_bad_input_is_one_line_and_code_2(normkit, arguments, message):
    code, out, err = normkit(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_run_that_raises_is_one_line_with_its_seed(normkit, monkeypatch):
    monkeypatch.setenv(toy.FAIL, "0")
    code, _, err = normkit("reproduce", "toy", "--scale", "smoke")
    assert code == 2
    assert err.startswith("error: toy: draw, seed 0: ArithmeticError: asked to fail")


def test_list_and_show_say_the_same_of_a_paper(normkit):
    _, listed, _ = normkit("list", "--json")
    cards = {card["slug"]: card for card in json.loads(listed)["papers"]}
    assert sorted(cards) == sorted(paper.slug for paper in papers())
    _, shown, _ = normkit("show", "toy", "--json")
    assert cards["toy"].items() <= json.loads(shown).items()


def test_show_and_list_for_a_person(normkit):
    _, out, _ = normkit("show", "toy")
    assert "the scale of a vector" in out
    assert "normkit reproduce toy" in out
    _, out, _ = normkit("list")
    assert "toy" in out
