"""Find papers: the modules of `normkit.papers`, and those that other packages register."""

import warnings
from importlib.metadata import EntryPoint, entry_points

from normkit import listing
from normkit.papers._harness.paper import Paper

__all__ = ["get", "papers"]

GROUP = "normkit.papers"


def papers() -> list[Paper]:
    """All papers, by slug: this package's modules, then the entry points of the group `normkit.papers`.

    An entry point that does not load, is no `Paper`, or takes a slug that is in use is left out with a warning: a
    broken third party must not hide the others.

    Raises:
        TypeError: a public module of `normkit.papers` defines no `paper`.
    """
    found: dict[str, Paper] = {}
    for module in listing.modules("normkit.papers"):
        paper = getattr(module, "paper", None)
        if not isinstance(paper, Paper):
            raise TypeError(f"{module.__name__} defines no `paper = Paper(…)`; move what it holds to another room")
        found[paper.slug] = paper
    for point in entry_points(group=GROUP):
        foreign = _registered(point, taken=found)
        if foreign is not None:
            found[foreign.slug] = foreign
    return [found[slug] for slug in sorted(found)]


def get(slug: str) -> Paper:
    """The paper of that slug.

    Raises:
        ValueError: there is none; the message names the closest.
    """
    known = {paper.slug: paper for paper in papers()}
    if slug in known:
        return known[slug]
    raise ValueError(f"there is no paper {slug!r}: {listing.meant(slug, known)} (`normkit list` shows all)")


def _registered(point: EntryPoint, taken: dict[str, Paper]) -> Paper | None:
    try:
        loaded = point.load()
    except Exception as error:
        warnings.warn(f"the paper {point.value!r} was not loaded: {type(error).__name__}: {error}", stacklevel=3)
        return None
    paper = getattr(loaded, "paper", loaded)
    if not isinstance(paper, Paper):
        warnings.warn(f"{point.value!r} in the group {GROUP!r} is no Paper and was left out", stacklevel=3)
        return None
    if paper.slug in taken:
        warnings.warn(f"{point.value!r} was left out: the slug {paper.slug!r} is taken", stacklevel=3)
        return None
    return paper
