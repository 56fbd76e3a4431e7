"""`normkit inpaint train|eval|fill`: repair holes in photographs of one's own."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from normkit.cli._shell import Debug, Group, Json, emit, progress, stderr

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    help="Repair holes in photographs: train a network, measure it, fill one picture.",
)

Images = Annotated[Path, typer.Option(help="Folder of photographs; those in folders below count too.")]
Masks = Annotated[
    str, typer.Option(help="Random masks (irregular, rectangle, half) or a folder of masks, white = hole.")
]
Checkpoint = Annotated[Path, typer.Option(help="generator.safetensors, as `normkit inpaint train` writes it.")]
Size = Annotated[int, typer.Option(min=8, help="Sides of the square crops, in pixels.")]
Seed = Annotated[int, typer.Option(help="Seed of the weights, the crops and the masks.")]
Force = Annotated[bool, typer.Option("--force", help="Write into a folder that holds files, or over a file.")]


@app.command()
def train(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for generator.safetensors and the state of the run.")],
    masks: Masks = "irregular",
    size: Size = 64,
    steps: Annotated[int, typer.Option(min=1, help="Batches in all.")] = 400,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a batch.")] = 8,
    width: Annotated[int, typer.Option(min=1, help="Channels of the first layer; the paper's is 64.")] = 16,
    blocks: Annotated[int, typer.Option(min=0, help="Residual blocks; the paper's are 8.")] = 2,
    downs: Annotated[int, typer.Option(min=0, help="How often the encoder halves the picture; the paper's 2.")] = 1,
    norm: Annotated[str, typer.Option(help="rn (region norm), in, bn or none.")] = "rn",
    style: Annotated[str, typer.Option(help="Of rn: instance, or batch.")] = "instance",
    gan: Annotated[bool, typer.Option("--gan/--no-gan", help="With the discriminator and the paper's rates.")] = False,
    device: Annotated[str, typer.Option(help="Where to train, as Fabric names it: auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="As Fabric names it: 32-true, bf16-mixed, 16-mixed.")] = "32-true",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read the photographs.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew although --out holds the state of a run.")] = False,
    seed: Seed = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a network on crops of your photographs; a run that was killed goes on where it was.

    The defaults learn something within minutes on a CPU. The paper's network: --size 256 --width 64 --blocks 8
    --downs 2 --batch-size 14 --gan, on a GPU.
    """
    start = time.perf_counter()
    from normkit.models.inpainting.runs import train_in

    options = {"width": width, "blocks": blocks, "downs": downs, "norm": norm, "style": style}
    done = train_in(
        out,
        images,
        masks,
        size,
        options,
        gan=gan,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        workers=workers,
        accelerator=device,
        precision=precision,
        resume=not fresh,
        progress="training" if stderr.is_terminal else False,
    )
    emit(done, json=json, seconds=time.perf_counter() - start, human=lambda console: _say_trained(console, done))


@app.command("eval")
def eval_(
    checkpoint: Checkpoint,
    images: Images,
    masks: Masks = "irregular",
    out: Annotated[Path | None, typer.Option(help="Folder for the table (csv) and a sheet of pictures (png).")] = None,
    size: Size = 64,
    count: Annotated[int, typer.Option(min=1, help="Crops in each range of hole sizes.")] = 64,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures at once; part of the result in the batch style.")
    ] = 8,
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a network by the size of the holes: PSNR, SSIM, distance in the holes, and a sheet of pictures."""
    start = time.perf_counter()
    from normkit.models.inpainting.runs import evaluate_in

    with progress("measuring"):
        buckets, written = evaluate_in(
            checkpoint, images, masks, size, count, batch_size=batch_size, seed=seed, out=out, force=force
        )
    payload = {"buckets": [asdict(each) for each in buckets], "written": [str(path) for path in written]}
    emit(payload, json=json, seconds=time.perf_counter() - start, human=lambda console: _say_table(console, payload))


@app.command()
def fill(
    checkpoint: Checkpoint,
    image: Annotated[Path, typer.Option(help="The photograph.")],
    mask: Annotated[Path, typer.Option(help="A picture of the same size, white where something is to be filled in.")],
    out: Annotated[Path, typer.Option(help="The file to write; its ending says the format (.png keeps every pixel).")],
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fill the holes of one photograph; outside of them every pixel stays as it is."""
    start = time.perf_counter()
    from normkit.models.inpainting.runs import fill_in

    done = fill_in(checkpoint, image, mask, out, force=force)
    emit(done, json=json, seconds=time.perf_counter() - start, human=lambda console: _say_filled(console, done))


def _say_trained(console: Console, done: dict[str, Any]) -> None:
    resumed = f", {done['resumed_from']} of them before" if done["resumed_from"] else ""
    console.print(
        f"{done['steps']} steps{resumed}; loss {done['loss_first']:.3f} at first, {done['loss_last']:.3f} at last"
    )
    console.print(f"written: {done['generator']}", soft_wrap=True)


def _say_table(console: Console, payload: dict[str, Any]) -> None:
    table = Table()
    for header in ("hole", "PSNR, dB", "SSIM", "distance in the hole", "crops"):
        table.add_column(header, justify="right")
    for each in payload["buckets"]:
        low, high = each["area"]
        similarity = "–" if each["ssim"] is None else f"{each['ssim']:.3f}"
        table.add_row(
            f"{low:.0%} – {high:.0%}", f"{each['psnr']:.2f}", similarity, f"{each['l1']:.4f}", str(each["count"])
        )
    console.print(table)
    for path in payload["written"]:
        console.print(f"written: {path}", soft_wrap=True)


def _say_filled(console: Console, done: dict[str, Any]) -> None:
    from normkit.data.pictures import LOSSY

    console.print(f"{done['area']:.1%} of the photograph filled in", soft_wrap=True)
    if Path(done["written"]).suffix.lower() in LOSSY:
        console.print(
            "its format loses a little everywhere; a .png keeps every pixel outside the holes", soft_wrap=True
        )
    console.print(f"written: {done['written']}", soft_wrap=True)
