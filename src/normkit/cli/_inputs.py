"""What a person brings on the command line, as objects: a model, its weights, data."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from normkit import data
from normkit.extras import require
from normkit.listing import load

__all__ = ["Header", "data_from", "load_weights", "model_from", "table_from", "user_object"]

Header = Annotated[
    str,
    typer.Option(
        metavar="auto|yes|no",
        help="Whether the table's first line names its columns; auto refuses where it cannot tell.",
    ),
]


def user_object(reference: str, what: str) -> Any:
    """The object at `package.module:name`; the current folder is importable."""
    if ":" not in reference:
        raise ValueError(f"{what} must be written package.module:name, got {reference!r}")
    return load(reference)


def model_from(
    model: str | None = None, checkpoint: Path | None = None, hf: Path | None = None
) -> tuple[nn.Module | None, dict[str, str]]:
    """The user's model and how to build it again (`{"model": "package.module:function"}` or `{"hf": folder}`).

    `model` names a function that returns an `nn.Module` (or a module itself); `hf` is a folder with `config.json` as
    Hugging Face saves it; `checkpoint` holds the weights (`.safetensors`, or a `.pt` read with `weights_only=True`).
    Without either the model is None.

    Raises:
        ValueError: both were given, or a checkpoint without a model.
        FileNotFoundError: a file or folder is missing.
        TypeError: the function returned something else than a module.
    """
    if model and hf:
        raise ValueError("--model and --hf both name a model: give one of them")
    if model:
        made = user_object(model, "--model")
        built = made if isinstance(made, nn.Module) else made() if callable(made) else made
        if not isinstance(built, nn.Module):
            raise TypeError(
                f"--model {model} gave a {type(built).__name__}: a function that returns an nn.Module is wanted"
            )
        source = {"model": model}
    elif hf:
        built, source = _hugging_face(hf), {"hf": str(hf)}
    elif checkpoint:
        raise ValueError("--checkpoint holds weights only: name the model that takes them with --model or --hf")
    else:
        return None, {}
    if checkpoint:
        load_weights(built, checkpoint)
    return built, source


def _hugging_face(folder: Path) -> nn.Module:
    transformers = require("transformers", extra="text")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: no config.json there; --hf wants a folder as save_pretrained writes it")
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    architecture = getattr(transformers, (config.architectures or ["AutoModel"])[0], transformers.AutoModel)
    if any(folder.glob("*.safetensors")):
        loaded: nn.Module = architecture.from_pretrained(folder, local_files_only=True)
        return loaded
    build: Callable[[Any], nn.Module] = getattr(architecture, "_from_config", None) or architecture.from_config
    return build(config)


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Load `checkpoint` into `model`, strictly.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is corrupt, or its names or shapes are not the model's.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"--checkpoint {checkpoint}: no such file")
    try:
        state = _read_state(checkpoint)
    except Exception as error:
        raise ValueError(f"--checkpoint {checkpoint} cannot be read as weights: {_first_sentence(error)}") from error
    if differences := _differences(model.state_dict(), state):
        raise ValueError(f"--checkpoint {checkpoint} does not fit the model: {'; '.join(differences)}")
    model.load_state_dict(state)


# Where training scripts put the weights in what they save.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net")


def _read_state(checkpoint: Path) -> dict[str, Tensor]:
    if checkpoint.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(checkpoint)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(map(_is_entry, state.items())):
        found = f"a dict with {_few(state)}" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise TypeError(f"it holds {found}; a dict of tensors is wanted, as `model.state_dict()` gives it")
    if state and all(name.startswith("module.") for name in state):  # saved from DistributedDataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return dict(state)


def _is_entry(entry: tuple[str, Any]) -> bool:
    name, value = entry
    return isinstance(value, Tensor) or str(name).endswith("_extra_state")


def _first_sentence(error: Exception) -> str:
    """What torch and others say at length, up to the first full stop and without escape codes."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    sentence = re.split(r"(?<=[.!?]) ", text, maxsplit=1)[0] or type(error).__name__
    if "weights_only" in text or "Weights only" in text:
        return (
            f"it holds Python objects beside tensors, which could run code; save model.state_dict() alone ({sentence})"
        )
    return sentence


def _differences(wanted: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """In what the names and shapes of two state dicts differ, a few examples of each kind."""
    shapes = {
        f"{name} {tuple(given[name].shape)} where the model has {tuple(wanted[name].shape)}"
        for name in wanted.keys() & given.keys()
        if not name.endswith("_extra_state") and given[name].shape != wanted[name].shape
    }
    kinds = {
        "it lacks": wanted.keys() - given.keys(),
        "the model lacks": given.keys() - wanted.keys(),
        "of another shape:": shapes,
    }
    return [f"{kind} {_few(names)}" for kind, names in kinds.items() if names]


def _few(names: Iterable[str], most: int = 3) -> str:
    names = sorted(map(str, names))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def data_from(name: str | None, *, batch_size: int, seed: int = 0) -> Iterable[Any] | None:
    """The user's batches: a data set's name, a `.npz` file with `X` and `y`, or `package.module:function`.

    Raises:
        FileNotFoundError: no such file or data set.
        ValueError: the file lacks `X` or `y`, or their lengths differ.
    """
    if name is None:
        return None
    if ":" in name:
        made = user_object(name, "--data")
        found: Iterable[Any] = made() if callable(made) else made
        return found
    if name.endswith(".npz"):
        features, targets = _from_npz(Path(name))
    else:
        bunch = data.load(name)
        features, targets = torch.as_tensor(bunch.X), torch.as_tensor(bunch.y)
    if features.ndim == 4 and features.shape[-1] in (1, 3):
        features = features.permute(0, 3, 1, 2)
    if not features.is_floating_point():
        features = features.float() / (16.0 if name == "digits" else 255.0) * 2 - 1
    return data.batches(features.float().contiguous(), targets, batch_size, seed=seed)


def table_from(name: str, header: str = "auto") -> data.Table:
    """The user's table: a .csv, .tsv or .txt file, or the name of a data set that is a table.

    Raises:
        FileNotFoundError: no such file, or the set is not on this machine.
        ValueError: the file cannot be read as a table, or `name` is something else.
    """
    if name.lower().endswith((".csv", ".tsv", ".txt")):
        return data.read_table(name, header)
    if name in data.names():
        bunch = data.load(name)
        if "columns" in bunch.meta.details:
            return data.Table(tuple(bunch.meta.details["columns"]), bunch.X)
    raise ValueError(
        f"--data {name} is no table: give a .csv, .tsv or .txt file (a spreadsheet exports one) or a set that is "
        "a table, roman-cups; a set of batches goes with a model, --model or --hf"
    )


def _from_npz(path: Path) -> tuple[Tensor, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"--data {path}: no such file")
    import numpy as np

    try:
        archive = np.load(path, allow_pickle=False)
        arrays = {key: archive[key] for key in archive.files}
    except Exception as error:
        raise ValueError(f"--data {path} cannot be read as an .npz file: {error}") from error
    missing = {"X", "y"} - arrays.keys()
    if missing:
        raise ValueError(f"--data {path} holds {sorted(arrays)}: X (inputs) and y (targets) are wanted")
    if len(arrays["X"]) != len(arrays["y"]):
        raise ValueError(f"--data {path}: X has {len(arrays['X'])} rows and y has {len(arrays['y'])}")
    return torch.as_tensor(arrays["X"]), torch.as_tensor(arrays["y"])
