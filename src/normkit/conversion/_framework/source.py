"""The recipe of a conversion: what was done, and how the network that it was done to is built again."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from normkit.conversion._framework.passes import Pass
from normkit.conversion._framework.rule import Kind, Rule
from normkit.extras import require
from normkit.listing import load as load_object
from normkit.report import jsonable, versions

__all__ = ["RECIPE_SCHEMA", "build", "recipe_of", "source_of"]

RECIPE_SCHEMA = 1
"""Version of the recipe's layout."""


def recipe_of(
    model: nn.Module,
    steps: Sequence[Rule],
    passes: Sequence[Pass],
    kind: Kind,
    changes: Sequence[dict[str, str]],
    seed: int,
) -> dict[str, Any]:
    """Rules with their options and sites, the changes, and where the original network comes from; all JSON-able."""
    return {
        "schema": RECIPE_SCHEMA,
        "kind": kind,
        "steps": [
            {"rule": rule.slug, "options": jsonable(rule.options), "sites": jsonable(done.plan)}
            for rule, done in zip(steps, passes, strict=True)
        ],
        "changes": list(changes),
        "source": source_of(model),
        "training": model.training,
        "seed": seed,
        "versions": versions(),
    }


def source_of(model: nn.Module) -> dict[str, Any] | None:
    """How to build the architecture again: known of Hugging Face models, which carry their configuration."""
    config: Any = getattr(model, "config", None)
    if type(model).__module__.startswith("transformers.") and hasattr(config, "to_json_string"):
        return {"hugging_face": type(model).__name__, "config": jsonable(config.to_dict())}
    return None


def build(source: dict[str, Any] | None) -> nn.Module:
    """The original architecture, with whatever values it is born with.

    `{"model": "package.module:function"}` imports that module and calls the function, as the command line did that
    wrote it: load such a folder only if you trust it as you would trust code.

    Raises:
        ValueError: the recipe does not say how, or what it says does not lead to a network.
    """
    if source and "model" in source:
        made = load_object(source["model"])
        built = made if isinstance(made, nn.Module) else made()
        if not isinstance(built, nn.Module):
            raise ValueError(f"the recipe's source {source['model']} gave a {type(built).__name__}, no nn.Module")
        return built
    if source and "hugging_face" in source:
        return _hugging_face(str(source["hugging_face"]), dict(source["config"]))
    raise ValueError("the recipe does not say how its network is built: pass model=, a fresh one of the original class")


def _hugging_face(name: str, config: dict[str, Any]) -> nn.Module:
    transformers = require("transformers", extra="text")
    found = getattr(transformers, name, None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise ValueError(f"transformers has no model {name!r}, which the recipe names as its source")
    architecture: Any = found
    built: nn.Module = architecture(architecture.config_class.from_dict(config))
    return built
