"""`load`: rebuild a saved conversion; `replay`: do what a recipe says to a network."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from torch import Tensor, nn

from normkit.conversion._framework.passes import run_pass
from normkit.conversion._framework.result import RECIPE, WEIGHTS, Conversion
from normkit.conversion._framework.rule import rule_from
from normkit.conversion._framework.source import RECIPE_SCHEMA, build
from normkit.surgery import copy

__all__ = ["load", "read_recipe", "reload", "replay"]


def load(folder: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """The converted network that `Conversion.save(folder)` wrote.

    Its original architecture is built as the recipe says (Hugging Face configuration, or `package.module:function`,
    which is imported and called); or pass `model`, a fresh network of the original class, which stays untouched.

    Raises:
        FileNotFoundError, ValueError: as `reload`.
    """
    return reload(folder, model).model


def reload(folder: str | os.PathLike[str], model: nn.Module | None = None) -> Conversion:
    """The conversion that `Conversion.save(folder)` wrote: the network, and what was done to it; nothing is measured.

    Its original architecture is built as the recipe says (Hugging Face configuration, or `package.module:function`,
    which is imported and called); or pass `model`, a fresh network of the original class, which stays untouched.

    Raises:
        FileNotFoundError: the folder, the recipe or the weights are missing.
        ValueError: a file is corrupt or does not belong to the other, the recipe does not say how the network is
            built, or the weights do not fit it.
    """
    place = Path(folder)
    recipe = read_recipe(place / RECIPE)
    weights = _weights(place / WEIGHTS, recipe)
    rebuilt = replay(recipe, build(recipe["source"]) if model is None else model)
    for name, tensor in [*rebuilt.named_parameters(), *rebuilt.named_buffers()]:
        if name in weights and tensor.dtype != weights[name].dtype:
            tensor.data = tensor.data.to(weights[name].dtype)
    try:
        rebuilt.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{place / WEIGHTS} does not fit the network: {' '.join(str(error).split())}") from None
    return Conversion(
        model=rebuilt.train(bool(recipe.get("training", False))),
        kind=recipe["kind"],
        to=[step["rule"] for step in recipe["steps"]],
        changes=recipe["changes"],
        skipped=[],
        max_abs_diff=None,
        max_rel_diff=None,
        own_dtype=None,
        trials=[],
        time_ratio=None,
        recipe=recipe,
    )


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no recipe of this version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a saved conversion holds {RECIPE} and {WEIGHTS}")
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no recipe: {error}") from None
    if not isinstance(recipe, dict) or not {"steps", "source", "kind", "changes"} <= recipe.keys():
        raise ValueError(f"{path} is no recipe: it lacks `steps`, `changes`, `kind` or `source`")
    if recipe.get("schema") != RECIPE_SCHEMA:
        raise ValueError(f"{path} has schema {recipe.get('schema')!r}; this normkit reads {RECIPE_SCHEMA}")
    return recipe


def replay(recipe: dict[str, Any], model: nn.Module) -> nn.Module:
    """A copy of `model` with the structure that the recipe gives it; new layers have the values they start with.

    Raises:
        ValueError: a rule or option is not known, or the model has no module at a path of the recipe.
    """
    rebuilt = copy(model)
    for step in recipe["steps"]:
        done = run_pass(rule_from(step["rule"], step["options"]), rebuilt, plan=step["sites"])
        if done.skipped:
            refused = done.skipped[0]
            raise ValueError(f"the recipe does not fit this model: {refused['path']}: {refused['reason']}")
        rebuilt = done.model
    return rebuilt


def _weights(path: Path, recipe: dict[str, Any]) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a saved conversion holds {RECIPE} and {WEIGHTS}")
    content = path.read_bytes()
    try:
        weights = from_safetensors(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is corrupt: {error}") from None
    if hashlib.sha256(content).hexdigest() != recipe.get("sha256"):
        raise ValueError(f"{path} does not belong to the {RECIPE} beside it (its checksum differs): save them again")
    return {**weights, **{name: weights[first] for name, first in recipe.get("aliases", {}).items()}}
