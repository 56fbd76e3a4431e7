"""The state of a training run in one safetensors file: tensors in its body, everything else as JSON in its header.

One file, so that a rename replaces the whole state at once; no pickle, so that reading one runs no code.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from normkit.data.files import atomic

__all__ = ["Progress", "read", "restore", "write"]

SCHEMA = "normkit.training/1"


@dataclass
class Progress:
    """How far a run has come.

    `epoch` and `batch` say where in the data the next step starts; `losses` holds one figure for each step done;
    `base_rates` the learning rates before the schedule's factor; `epoch_rng` the states of the random generators at
    the start of the epoch (from which its order follows) and `rng` those of now.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    losses: list[float] = field(default_factory=list)
    base_rates: list[float] = field(default_factory=list)
    epoch_rng: dict[str, Tensor] = field(default_factory=dict)
    rng: dict[str, Tensor] = field(default_factory=dict)


def write(path: str | os.PathLike[str], model: nn.Module, optimizer: Optimizer, progress: Progress) -> None:
    """Write model, optimiser and progress to `path`, whole or not at all.

    Raises:
        TypeError: a state of the model or the optimiser is neither a tensor nor plain JSON.
        OSError: the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    optimizer_state = optimizer.state_dict()
    header = {
        "schema": SCHEMA,
        "optimizer": type(optimizer).__name__,
        "progress": {k: v for k, v in asdict(progress).items() if k not in ("rng", "epoch_rng")},
        "model": _pack(model.state_dict(), "model", tensors),
        "state": _pack(optimizer_state["state"], "state", tensors),
        "groups": _pack(optimizer_state["param_groups"], "groups", tensors),
        "rng": _pack(progress.rng, "rng", tensors),
        "epoch_rng": _pack(progress.epoch_rng, "epoch_rng", tensors),
    }
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"normkit": json.dumps(header)})


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of the checkpoint at `path`, on the CPU. The file is only read.

    Raises:
        ValueError: it is not a whole checkpoint of a training run.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata["normkit"])
            if header["schema"] != SCHEMA:
                raise ValueError(f"its schema is {header['schema']!r}, not {SCHEMA!r}")
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole training checkpoint ({error}): delete it or pass resume=False to start anew"
        ) from error


def restore(path: str | os.PathLike[str], model: nn.Module, optimizer: Optimizer) -> Progress:
    """Load the checkpoint at `path` into `model` and `optimizer`; returns how far that run had come.

    Raises:
        ValueError: the file is damaged, or belongs to another model or optimiser; neither is changed then.
    """
    header, tensors = read(path)
    state = _unpack(header["model"], tensors)
    _check_model(Path(path), model.state_dict(), state)
    if header["optimizer"] != type(optimizer).__name__:
        raise ValueError(
            f"{path} holds the state of {header['optimizer']}, and this run uses {type(optimizer).__name__}: "
            "pass the same optimizer, or resume=False to start anew"
        )
    groups = _unpack(header["groups"], tensors)
    sizes = [len(group["params"]) for group in optimizer.state_dict()["param_groups"]]
    if sizes != [len(group["params"]) for group in groups]:
        raise ValueError(f"{path} has other parameter groups than this optimizer: pass resume=False to start anew")
    model.load_state_dict(state)
    by_index = {int(index): value for index, value in _unpack(header["state"], tensors).items()}
    optimizer.load_state_dict({"state": by_index, "param_groups": groups})
    rng = {"rng": _unpack(header["rng"], tensors), "epoch_rng": _unpack(header["epoch_rng"], tensors)}
    return Progress(**header["progress"], **rng)


def _check_model(path: Path, own: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    if strange := sorted(own.keys() ^ saved.keys()):
        raise ValueError(
            f"{path} is of another model: {strange[0]!r} is in only one of the two "
            f"({len(strange)} such names): pass the same model, or resume=False to start anew"
        )
    for name, value in own.items():
        if value.shape != saved[name].shape:
            raise ValueError(
                f"{path} is of another model: {name} is {tuple(saved[name].shape)} there, {tuple(value.shape)} here: "
                "pass the same model, or resume=False to start anew"
            )


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON; each tensor goes into `tensors` under its path and leaves a reference to it."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {"mapping": {str(key): _pack(each, f"{path}/{key}", tensors) for key, each in value.items()}}
    if isinstance(value, (list, tuple)):
        packed = [_pack(each, f"{path}/{index}", tensors) for index, each in enumerate(value)]
        return {"tuple": packed} if isinstance(value, tuple) else packed
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{path} is a {type(value).__name__}: a checkpoint holds tensors and plain figures only")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpack(each, tensors) for each in content)
    return {key: _unpack(each, tensors) for key, each in content.items()}
