"""Every public name: it is there, it says what it is; a tensor function or layer gives shapes, equation and source."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import pytest

import normkit

ROOMS_OF_TENSORS = ("normkit.functional", "normkit.nn", "normkit.weights")


def _public() -> Iterator[tuple[str, str]]:
    for info in walk_packages(normkit.__path__, "normkit."):
        if any(part.startswith("_") for part in info.name.split(".")):
            continue
        module = import_module(info.name)
        for name in getattr(module, "__all__", ()):
            yield info.name, name


NAMES = sorted(set(_public()))


def test_every_public_module_says_what_it_is() -> None:
    bare = [module for module in {module for module, _ in NAMES} if not (import_module(module).__doc__ or "").strip()]
    assert not bare


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{module}.{name}" for module, name in NAMES])
def test_public_name_is_documented(module: str, name: str) -> None:
    found = getattr(import_module(module), name)
    if inspect.ismodule(found) or not (inspect.isclass(found) or inspect.isroutine(found)):
        return
    text = inspect.getdoc(found) or ""
    own = (found.__doc__ or "") if inspect.isclass(found) else text
    assert len(own.split()) >= 4, f"{module}.{name} has no docstring of its own"


@pytest.mark.parametrize("room", ROOMS_OF_TENSORS)
def test_tensor_rooms_give_shapes_and_source(room: str) -> None:
    package = import_module(room)
    poor = []
    for name in package.__all__:
        found = getattr(package, name)
        text = " ".join(((inspect.getdoc(found) or "") + (inspect.getdoc(inspect.getmodule(found)) or "")).split())
        if "Shape" not in text and "shape" not in text:
            poor.append(f"{name}: no shapes")
        if not any(word in text for word in ("arXiv", "arxiv", "et al", "torch.nn", "Source:")):
            poor.append(f"{name}: no source")
    assert not poor


def test_all_lists_what_is_there() -> None:
    missing = [f"{module}.{name}" for module, name in NAMES if not hasattr(import_module(module), name)]
    assert not missing
