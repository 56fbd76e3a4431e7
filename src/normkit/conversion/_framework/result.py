"""The result of a conversion, and its folder on disk."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from normkit.conversion._framework.rule import Kind
from normkit.data.files import writable_folder, write_atomically

__all__ = ["RECIPE", "WEIGHTS", "Conversion"]

WEIGHTS, RECIPE = "model.safetensors", "recipe.json"


@dataclass
class Conversion:
    """What `convert` did.

    Attributes:
        model: the converted network (with `dry_run`, the one given).
        kind: `"exact"`, `"calibrated"` or `"fresh"`: the weakest of the rules that changed something.
        to: slugs of the rules, in order.
        changes: `path`, `from`, `to`, `why` of every change.
        skipped: `path` and `reason` of what was not converted.
        max_abs_diff: largest absolute difference of the outputs, in float64 and evaluation mode (in the model's own
            dtype where a fitted one does not run in float64, which `remarks` says); None where unmeasured.
        max_rel_diff: the same over the largest magnitude of the output.
        own_dtype: both figures in the model's own dtype.
        trials: the inputs compared, in words.
        time_ratio: time of the original over that of the converted network (above 1: faster now), or None.
        recipe: JSON-able; with it `load` does the same to a fresh network.
        remarks: what must be known before the network is used, such as "exact in evaluation only".
        dry_run: nothing was done, this is a plan.
    """

    model: nn.Module = field(repr=False)
    kind: Kind
    to: list[str]
    changes: list[dict[str, str]]
    skipped: list[dict[str, str]]
    max_abs_diff: float | None
    max_rel_diff: float | None
    own_dtype: dict[str, float] | None
    trials: list[str]
    time_ratio: float | None
    recipe: dict[str, Any] = field(repr=False)
    remarks: list[str] = field(default_factory=list)
    dry_run: bool = False

    def __str__(self) -> str:
        what = "planned" if self.dry_run else "changed"
        lines = [f"{' + '.join(self.to)}: {self.kind}, {len(self.changes)} {what}, {len(self.skipped)} not converted"]
        if self.max_rel_diff is not None:
            lines.append(f"largest difference of the outputs: {self.max_rel_diff:.2e} relative")
        if self.time_ratio is not None:
            lines.append(f"time before / time now: {self.time_ratio:.2f}")
        lines += [f"not converted: {each['path'] or 'the model'}: {each['reason']}" for each in self.skipped]
        return "\n".join(lines + [f"note: {remark}" for remark in self.remarks])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the model, JSON-able."""
        return {name: value for name, value in vars(self).items() if name != "model"}

    def save(self, folder: str | os.PathLike[str], force: bool = False) -> Path:
        """Write `model.safetensors` and `recipe.json` into `folder`; return it.

        Raises:
            FileExistsError: the folder holds files and `force` is false.
            OSError: it cannot be written.
            ValueError: this is a dry run, or the state dict holds something else than tensors.
        """
        if self.dry_run:
            raise ValueError("a dry run has no model to save: convert without dry_run=True")
        weights, aliases = _distinct(self.model.state_dict())
        content = to_safetensors(weights, metadata={"format": "pt"})
        recipe = {**self.recipe, "aliases": aliases, "sha256": hashlib.sha256(content).hexdigest()}
        text = json.dumps(recipe, indent=2, allow_nan=False)  # before anything is written
        target = writable_folder(folder, force=force)
        write_atomically(target / WEIGHTS, content)
        write_atomically(target / RECIPE, text + "\n")
        return target


def _distinct(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every tensor once, and under which name the others that are the same tensor are found."""
    weights: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} in the state dict is a {type(tensor).__name__}: only tensors can be saved")
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in first:
            aliases[name] = first[place]
            continue
        first[place] = name
        weights[name] = tensor.detach().cpu().contiguous().clone()
    return weights, aliases
