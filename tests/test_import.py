"""`import normkit` brings torch, numpy and jaxtyping and nothing else; modules are counted, not seconds."""

import subprocess
import sys

import pytest

import normkit
from normkit.listing import load, names

HEAVY = (
    "sklearn",
    "scipy",
    "pandas",
    "matplotlib",
    "typer",
    "rich",
    "jinja2",
    "lightning_fabric",
    "transformers",
    "safetensors",
    "triton",
)


def _modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_no_extra_and_few_modules() -> None:
    ground = _modules_after("import torch, numpy, jaxtyping")
    added = _modules_after("import normkit") - ground
    assert not {name for name in added if name.partition(".")[0] in HEAVY}
    assert len(added) <= 5, sorted(added)


def test_the_public_rooms_load_no_extra() -> None:
    added = _modules_after("import normkit.functional, normkit.nn, normkit.weights, normkit.surgery")
    tops = {name.partition(".")[0] for name in added - _modules_after("import torch, numpy, jaxtyping")}
    assert not tops & set(HEAVY)


def test_verbs_and_rooms_are_loaded_on_first_use() -> None:
    assert callable(normkit.convert)
    assert normkit.nn is load("normkit.nn")
    assert {"convert", "diagnose", "nn"} <= set(dir(normkit))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = normkit.nonsense


def test_listing_names_and_loads() -> None:
    assert "listing" in names("normkit")
    assert not [name for name in names("normkit") if name.startswith("_")]
    assert load("normkit.listing.load") is load
    assert load("normkit.listing:load") is load
    with pytest.raises(ImportError, match="no attribute 'nothing'"):
        load("normkit.listing.nothing")
    with pytest.raises(ImportError, match="no module 'nowhere'"):
        load("nowhere.at_all")
