"""Every name that a module's code looks up is there: annotations of shapes keep the linters from telling."""

import builtins
import dis
import importlib
import pkgutil
from collections.abc import Iterator
from types import CodeType

import pytest

import normkit

MODULES = sorted(found.name for found in pkgutil.walk_packages(normkit.__path__, "normkit.", onerror=lambda _: None))


def _globals(code: CodeType, opname: str) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == opname:
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant, opname)


@pytest.mark.parametrize("name", MODULES)
def test_names_are_there(name: str) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py") or name.endswith("__main__"):
        pytest.skip("no module of Python")
    try:
        module = importlib.import_module(name)
    except ImportError as missing:
        pytest.skip(f"needs what is not installed: {missing}")
    if getattr(module, "WHY_NOT", ""):
        pytest.skip(f"it does not load its programs: {module.WHY_NOT}")
    with open(spec.origin, encoding="utf-8") as source:
        code = compile(source.read(), spec.origin, "exec")
    known = {*vars(module), *vars(builtins), *_globals(code, "STORE_GLOBAL")}
    assert set(_globals(code, "LOAD_GLOBAL")) <= known
