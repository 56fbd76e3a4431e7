"""A trained inpainting network in one safetensors file: its weights, and in the header the options that built it."""

import json
import os

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from normkit.data.files import atomic
from normkit.models.inpainting.generator import InpaintGenerator

__all__ = ["load_generator", "save_generator"]

_SCHEMA = "normkit.inpainting/1"


def save_generator(path: str | os.PathLike[str], generator: InpaintGenerator) -> None:
    """Write the network to `path`, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    header = {"schema": _SCHEMA, "options": generator.options}
    tensors = {name: value.detach().cpu().contiguous() for name, value in generator.state_dict().items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"normkit": json.dumps(header)})


def load_generator(path: str | os.PathLike[str]) -> InpaintGenerator:
    """The network that `save_generator` wrote to `path`, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such network, or not a whole one.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is no file: give the generator.safetensors that training wrote")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["normkit"])
            if header["schema"] != _SCHEMA:
                raise ValueError(f"its schema is {header['schema']!r}, not {_SCHEMA!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        generator = InpaintGenerator(**header["options"])
        generator.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise ValueError(f"{path} holds no inpainting network ({' '.join(str(error).split())})") from error
    return generator.eval()
