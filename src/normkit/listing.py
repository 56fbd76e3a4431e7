"""Find things by listing a folder: adding one is adding one file, and nothing is registered in a second place."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

__all__ = ["load", "meant", "modules", "names"]


def names(package: str) -> list[str]:
    """Names of the public modules inside `package`, sorted; packages and names with a leading underscore count out."""
    found = iter_modules(import_module(package).__path__)
    return sorted({module.name for module in found if not module.name.startswith("_") and not module.ispkg})


def modules(package: str) -> Iterator[ModuleType]:
    """Import and yield the public modules inside `package` in the order of their names."""
    for name in names(package):
        yield import_module(f"{package}.{name}")


def meant(name: str, known: Iterable[str]) -> str:
    """What to say of a name that nothing bears: the closest ones that there are, or all of them.

    >>> meant("batch-nose", ["batch-noise", "elimination"])
    'did you mean batch-noise?'
    >>> meant("x", ["batch-noise", "elimination"])
    'there are batch-noise, elimination'
    """
    plain = {each.lower().replace("_", "-"): each for each in known}
    typed = name.strip().lower().replace("_", "-")
    close = get_close_matches(typed, plain, n=3, cutoff=0.6) or [
        each for each in plain if len(typed) > 1 and typed in each
    ]
    if close:
        return f"did you mean {' or '.join(plain[each] for each in close[:3])}?"
    return f"there are {', '.join(plain.values())}"


def load(dotted: str) -> Any:
    """The object at `package.module.attribute` (nested attributes allowed).

    Raises:
        ImportError: nothing stands at that name; the message says which part was not found.
    """
    module_name, _, attribute = dotted.partition(":") if ":" in dotted else dotted.rpartition(".")
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        outer, _, inner = module_name.rpartition(".")
        if not outer:
            raise ImportError(f"{dotted!r}: there is no module {module_name!r}") from None
        found = load(f"{outer}.{inner}")
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ImportError(f"{dotted!r}: {getattr(found, '__name__', found)!r} has no attribute {part!r}") from None
    return found
