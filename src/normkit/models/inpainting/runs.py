"""Training, measuring and filling by folders and files: what the command line does, callable from Python."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normkit.data import picture_files, random_masks, read_mask, read_picture, save_picture, writable_folder
from normkit.data.files import write_atomically
from normkit.models.inpainting.checkpoint import load_generator, save_generator
from normkit.models.inpainting.evaluation import Bucket, evaluate, fill
from normkit.models.inpainting.examples import Examples, loader
from normkit.models.inpainting.generator import InpaintGenerator
from normkit.models.inpainting.losses import merged
from normkit.models.inpainting.training import ADVERSARIAL, DISTANCES, train

__all__ = ["evaluate_in", "fill_in", "train_in"]

_RANDOM = ("irregular", "rectangle", "half")


def train_in(
    out: str | os.PathLike[str],
    images: str | os.PathLike[str],
    masks: str,
    size: int,
    options: dict[str, Any],
    *,
    gan: bool,
    steps: int,
    batch_size: int,
    seed: int,
    resume: bool = True,
    **fit: Any,
) -> dict[str, Any]:
    """Train a network on a folder of photographs and write `out`/generator.safetensors.

    The state of the run is kept in `out`/training.safetensors, from which the same call goes on, and what it follows
    from in `out`/settings.json. Without the
    discriminator the network starts from the full Kaiming scale and a 5×5 first layer; with it as in the paper.

    Raises:
        FileNotFoundError: no photographs, or no masks.
        ValueError: an option that makes no sense, too few photographs, or a state of another network, or of a run
            with other settings, in `out`.
        OSError: `out` cannot be written.
    """
    examples = Examples(picture_files(images), size, _masks(masks))
    if gan and size < 24:
        raise ValueError(f"--size is {size}: the discriminator judges patches of 24 pixels or more; use --no-gan")
    torch.manual_seed(seed)
    start: dict[str, Any] = {} if gan else {"kernel_size": 5, "init_scale": 1.0}
    generator = InpaintGenerator(**options, **start)
    if size % 2**generator.downs:
        raise ValueError(
            f"--size is {size}: it must be a multiple of {2**generator.downs}, by which --downs divides it"
        )
    loader(examples, batch_size)  # too few photographs are named before the folder is made
    folder = writable_folder(out, force=True)
    told = {"masks": str(masks), "size": size, "batch_size": batch_size, "seed": seed, "gan": gan}
    _check_goes_on(folder, told | {"pictures": len(examples)}, resume=resume)
    history = train(
        generator,
        examples,
        ADVERSARIAL if gan else DISTANCES,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        checkpoint=folder / "training.safetensors",
        resume=resume,
        **fit,
    )
    save_generator(folder / "generator.safetensors", generator)
    tenth = max(1, len(history.losses) // 10)
    return {
        "generator": str(folder / "generator.safetensors"),
        "steps": history.steps,
        "resumed_from": history.resumed_from,
        "loss_first": sum(history.losses[:tenth]) / tenth,
        "loss_last": sum(history.losses[-tenth:]) / tenth,
        "pictures": len(examples),
        "options": generator.options,
    }


def _check_goes_on(folder: Path, settings: dict[str, Any], *, resume: bool) -> None:
    """Keep what a run follows from beside its state; ValueError if the state in `folder` is of a run with others."""
    kept = folder / "settings.json"
    if resume and (folder / "training.safetensors").is_file() and kept.is_file():
        before = json.loads(kept.read_text())
        if differing := [name for name, value in settings.items() if before.get(name) != value]:
            said = ", ".join(f"{name} {before.get(name)}, not {settings[name]}" for name in differing)
            raise ValueError(
                f"{folder} holds the state of a run with other settings ({said}): give the same ones, begin anew "
                "(--fresh), or name another folder"
            )
    write_atomically(kept, json.dumps(settings))


def evaluate_in(
    checkpoint: str | os.PathLike[str],
    images: str | os.PathLike[str],
    masks: str,
    size: int,
    count: int,
    *,
    batch_size: int = 8,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> tuple[list[Bucket], list[Path]]:
    """Measure a network on `count` crops of a folder's photographs, and write inpainting.csv and pictures.png to `out`.

    Raises:
        FileNotFoundError: no network, no photographs, or no masks.
        FileExistsError: `out` holds files and `force` is false.
        ValueError: the file holds no network.
    """
    folder = None if out is None else writable_folder(out, force=force)
    generator = load_generator(checkpoint)
    files = picture_files(images)
    kind = _masks(masks)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        batch = Examples(files, size, kind).__getitems__([index % len(files) for index in range(count)])
    own = {"kind": kind} if isinstance(kind, str) else {"masks": batch["masks"]}
    buckets = evaluate(generator, batch["images"], **own, batch_size=batch_size, seed=seed)
    if folder is None:
        return buckets, []
    lines = ["lowest,highest,psnr,ssim,l1,count"]
    lines += [f"{each.area[0]},{each.area[1]},{each.psnr},{each.ssim},{each.l1},{each.count}" for each in buckets]
    table = write_atomically(folder / "inpainting.csv", "\n".join(lines) + "\n")
    shown = batch["masks"]
    if isinstance(kind, str):
        shown = random_masks(count, size, kind, (0.2, 0.4), torch.Generator().manual_seed(seed))
    sheet = _sheet(generator, batch["images"][:8], shown[:8])
    return buckets, [table, save_picture(folder / "pictures.png", sheet)]


def fill_in(
    checkpoint: str | os.PathLike[str],
    image: str | os.PathLike[str],
    mask: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Fill the holes of one photograph and write it to `out`.

    Raises:
        FileNotFoundError: the network, the photograph or the mask is not there.
        FileExistsError: `out` is there and `force` is false.
        ValueError: one of them cannot be read, or the mask does not fit or holds no hole.
    """
    target = Path(out)
    if target.exists() and not force:
        raise FileExistsError(f"{target} is there already: choose another --out, or pass force=True (--force)")
    generator, photograph = load_generator(checkpoint), read_picture(image)
    holes = read_mask(mask, (photograph.shape[-2], photograph.shape[-1]))
    written = save_picture(target, fill(generator, photograph, holes))
    return {"written": str(written), "area": float(holes.float().mean()), "size": list(photograph.shape[-2:])}


def _masks(masks: str) -> str | Sequence[Path]:
    if masks in _RANDOM:
        return masks
    if not Path(masks).is_dir():
        raise FileNotFoundError(f"--masks is {masks!r}: give {', '.join(_RANDOM)}, or a folder of masks (white = hole)")
    return picture_files(masks)


@torch.no_grad()
def _sheet(generator: InpaintGenerator, images: Tensor, masks: Tensor) -> Tensor:
    """A row a picture: input with its holes white, output, truth."""
    whole = merged(generator(images, masks), images, masks)
    parts = zip(torch.where(masks, 1.0, images), whole, images, strict=True)
    return torch.cat([torch.cat(list(part), dim=2) for part in parts], dim=1)
