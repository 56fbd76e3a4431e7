"""The probes are the modules of `normkit.diagnosis`: found by listing the folder, named by their slug."""

import inspect
from collections.abc import Sequence

from normkit.diagnosis._framework.probe import Probe
from normkit.listing import meant, modules

__all__ = ["chosen", "probes"]


def probes() -> dict[str, type[Probe]]:
    """Every probe class by its slug, in the order of the modules' names."""
    found: dict[str, type[Probe]] = {}
    for module in modules("normkit.diagnosis"):
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Probe) and kind.__module__ == module.__name__:
                found[kind.slug] = kind
    return found


def chosen(wanted: Sequence[str | type[Probe] | Probe] | str | None) -> list[Probe]:
    """Fresh probes for what the user named: slugs (a string may hold several, joined by commas), classes or probes.

    Raises:
        ValueError: there is no probe of that name; says which is meant or which there are.
    """
    known = probes()
    if wanted is None:
        return [kind() for kind in known.values()]
    names = wanted.split(",") if isinstance(wanted, str) else wanted
    return [_made(each, known) for each in names]


def _made(wanted: str | type[Probe] | Probe, known: dict[str, type[Probe]]) -> Probe:
    if isinstance(wanted, Probe):
        return wanted
    if not isinstance(wanted, str):
        return wanted()
    slug = wanted.strip()
    if slug not in known:
        raise ValueError(f"there is no probe {slug!r}: {meant(slug, known)}")
    return known[slug]()
