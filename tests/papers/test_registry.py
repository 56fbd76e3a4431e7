from importlib.metadata import EntryPoint, EntryPoints

import pytest

from normkit.papers import get, papers
from normkit.papers._harness import registry
from tests.papers import toy


def _register(monkeypatch, *values):
    points = EntryPoints(EntryPoint(name=value, value=value, group="normkit.papers") for value in values)
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))


def test_papers_are_found_by_listing_and_sorted():
    slugs = [paper.slug for paper in papers()]
    assert slugs == sorted(slugs)
    assert {"layer-norm", "evonorm", "batch-channel-norm", "pre-rmsnorm", "two-pass-softmax"} <= set(slugs)


def test_a_third_party_registers_a_paper_or_its_module(monkeypatch):
    _register(monkeypatch, "tests.papers.toy:paper")
    assert get("toy") is toy.paper
    _register(monkeypatch, "tests.papers.toy")
    assert get("toy") is toy.paper


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tests.papers.absent", "was not loaded: ModuleNotFoundError"),
        ("tests.papers.toy:FAIL", "is no Paper"),
        ("normkit.papers.layer_norm", "the slug 'layer-norm' is taken"),
    ],
)
def test_a_broken_third_party_is_named_and_hides_nothing(monkeypatch, value, message):
    _register(monkeypatch, value, "tests.papers.toy:paper")
    with pytest.warns(UserWarning, match=message):
        slugs = [paper.slug for paper in papers()]
    assert "toy" in slugs
    assert "layer-norm" in slugs


def test_an_unknown_slug_names_the_closest():
    with pytest.raises(ValueError, match=r"there is no paper 'layernorm': did you mean layer-norm"):
        get("layernorm")
    with pytest.raises(ValueError, match="there are batch-channel-norm"):
        get("zzz")
