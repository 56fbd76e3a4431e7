"""What a network learned where only its normalisers train, as a small state dict: γ, β, running statistics, head.

Several of them over one base network are its tasks; loading one is the change of task.

Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm", arXiv:2003.00152 (γ and β are about 1 % of a
residual net).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from normkit.data.files import write_atomically
from normkit.weights.affine import affine_normalizers
from normkit.weights.freezing import head_of, keep_statistics, keeps_statistics

__all__ = ["affine_state_dict", "load_affine", "load_affine_state_dict", "save_affine"]

SCHEMA = "1"


def affine_state_dict(model: nn.Module, head: str | Sequence[str] | None = None) -> dict[str, Tensor]:
    """Parameters and running statistics of every affine normaliser, and of the output layer where it is asked for.

    Names and shapes are those of `model.state_dict()`; the tensors are copies.

    Args:
        model: the network.
        head: path or paths of the output layer, "auto" for the last map that is registered, None to leave it out.

    Raises:
        ValueError: no normaliser with affine parameters, or `head` is not there.
    """
    homes = [*affine_normalizers(model), *(() if head is None else head_of(model, head))]
    state = model.state_dict()
    return {
        name: tensor.detach().clone()
        for name, tensor in state.items()
        if any(home == "" or name.startswith(f"{home}.") for home in homes)
    }


@torch.no_grad()
def load_affine_state_dict(model: nn.Module, state: Mapping[str, Tensor], strict: bool = True) -> None:
    """Put a state that `affine_state_dict` gave into `model`, in place; everything else in it stays.

    Either all of it is loaded or, where it does not fit, nothing.

    Args:
        model: a network of the same architecture.
        state: tensors by name, of the shapes that the model has.
        strict: also refuse where a normaliser of the model is not in `state`.

    Raises:
        ValueError: names that the model does not have, other shapes, or with `strict` normalisers that are missing.
    """
    own = model.state_dict()
    unknown = [name for name in state if name not in own]
    missing = [name for name in affine_state_dict(model) if name not in state] if strict else []
    shapes = [
        f"{name} is {tuple(tensor.shape)} and must be {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and tensor.shape != own[name].shape
    ]
    wrong = [f"the model has no {_few(unknown)}"] if unknown else []
    wrong += [f"it lacks {_few(missing)} (strict=False leaves these as they are)"] if missing else []
    wrong += shapes[:3]
    if wrong:
        raise ValueError(f"the affine state does not fit {type(model).__name__}: {'; '.join(wrong)}")
    for name, tensor in state.items():
        own[name].copy_(tensor)


def save_affine(
    model: nn.Module, path: str | os.PathLike[str], head: str | Sequence[str] | None = None, force: bool = False
) -> Path:
    """Write `affine_state_dict(model, head)` as safetensors, whole or not at all; returns the path.

    Beside the tensors (shapes as in the model) the file says whether running statistics were kept in training
    (`keep_statistics`) or moved. Source: as the module.

    Raises:
        FileExistsError: the file is there and `force` is false.
        OSError: it cannot be written.
        ValueError: as `affine_state_dict`.
    """
    from safetensors.torch import save as to_safetensors  # here: only who writes files waits for it

    target = Path(path)
    if target.exists() and not force:
        raise FileExistsError(f"{target} exists: choose another name, or pass force=True")
    state = {name: tensor.cpu().contiguous() for name, tensor in affine_state_dict(model, head).items()}
    told = {
        "format": "pt",
        "normkit.affine": SCHEMA,
        "normkit.statistics": "kept" if keeps_statistics(model) else "moved",
    }
    return write_atomically(target, to_safetensors(state, metadata=told))


def load_affine(model: nn.Module, path: str | os.PathLike[str], strict: bool = True) -> None:
    """Load a file of `save_affine` into `model`, in place, and keep or move its running statistics as it says.

    Shapes are those of the model. Source: as the module.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, is corrupt, or does not fit (nothing is loaded then).
    """
    from safetensors import SafetensorError, safe_open

    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file")
    try:
        with safe_open(source, "pt") as file:
            told = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except SafetensorError as error:
        raise ValueError(f"{source} is corrupt: {error}") from None
    if told.get("normkit.affine") != SCHEMA:
        raise ValueError(f"{source} holds no affine state of this version: it was not written by save_affine")
    load_affine_state_dict(model, state, strict)
    keep_statistics(model, told["normkit.statistics"] == "kept")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
