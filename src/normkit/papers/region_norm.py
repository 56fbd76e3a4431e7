"""Region Normalization for Image Inpainting (Yu et al. 2020)."""

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from normkit import data
from normkit.diagnosis.masked_region import region_shift
from normkit.functional import region_norm
from normkit.models.inpainting import DISTANCES, Examples, InpaintGenerator, evaluate, merged, train
from normkit.nn import RNB
from normkit.papers import Context, Ledger, Paper, Records, Show

__all__ = ["paper"]

paper = Paper(
    slug="region-norm",
    title="Region Normalization for Image Inpainting",
    authors=("Tao Yu", "Zongyu Guo", "Xin Jin", "Shilin Wu", "Zhibo Chen", "Weiping Li", "Zhizheng Zhang", "Sen Liu"),
    year=2020,
    arxiv="1911.10375",
    nuisance="the size of a hole and what it is filled with",
    pathology="A network that repairs pictures normalises holes and real pixels together, so the statistics of the "
    "real pixels are shifted by the hole.",
    remedy="Normalise each region by its own statistics: by the mask that is known, later by regions that are learnt.",
    provides=(
        "normkit.nn.RNB",
        "normkit.nn.RNL",
        "normkit.nn.RegionNorm2d",
        "normkit.functional.region_norm",
        "normkit.models.inpainting.InpaintGenerator",
        "normkit.models.inpainting.InpaintDiscriminator",
        "normkit.data.random_masks",
    ),
    probe="masked-region",
)

EPS = 1e-5
AREAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
BUCKETS = ((0.1, 0.2), (0.3, 0.4), (0.5, 0.6))
SMALL: dict[str, Any] = {"width": 16, "blocks": 2, "downs": 1, "kernel_size": 5, "init_scale": 1.0}
PAIRS = {"batch": (("BN", "bn"), ("RN, batch", "rn")), "instance": (("IN", "in"), ("RN, instance", "rn"))}


def _photographs(ctx: Context) -> tuple[Tensor, Tensor]:
    """Photographs to train on and to test with, bytes (count, 3, height, width); smoke takes smooth noise.

    Raises:
        DataNotFound: the photographs are not on this machine.
    """
    if ctx.scale == "smoke":
        coarse = torch.rand(24, 3, 6, 6, generator=ctx.generator())
        noise = (F.interpolate(coarse, size=96, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
        return noise[:16], noise[16:]
    found = data.load("natural")
    X = torch.from_numpy(found.X).permute(0, 3, 1, 2)
    return X[found.split["train"]], X[found.split["test"]]


def _crops(pictures: Tensor, count: int, size: int, generator: torch.Generator) -> Float[Tensor, "count 3 size size"]:
    """Squares of test pictures in 0…1, the pictures by turns."""
    found = []
    for index in range(count):
        top, left = (int(torch.randint(side - size + 1, (), generator=generator)) for side in pictures.shape[2:])
        found.append(pictures[index % len(pictures), :, top : top + size, left : left + size])
    return torch.stack(found).float() / 255


def _missing(error: Exception) -> list[dict[str, Any]]:
    return [{"missing": " ".join(str(error).split())}]


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", minutes=1)
@paper.run(scale="full", minutes=1)
def shift(ctx: Context) -> list[dict[str, Any]]:
    """The shift of the valid pixels at the input and behind a random convolution, and what region norm leaves of it."""
    try:
        _, test = _photographs(ctx)
    except data.DataNotFound as error:
        return _missing(error)
    draw = ctx.generator()
    images = _crops(test, ctx.pick(smoke=8, embedded=128), 64, draw)
    weight = torch.randn(16, 3, 7, 7, generator=draw) / (3 * 7 * 7) ** 0.5
    records = []
    for area in AREAS:
        masks = data.random_masks(len(images), 64, "rectangle", (area - 0.02, area + 0.02), draw)
        filled = torch.where(masks, 1.0, images)
        features = F.conv2d(F.pad(filled, (3,) * 4, mode="reflect"), weight)
        records += [_shifts(area, place, x, masks) for place, x in (("input", filled), ("features", features))]
    return records


def _shifts(area: float, place: str, x: Tensor, masks: Tensor) -> dict[str, Any]:
    """The closed form against what instance norm does, and the worst of region norm in either region."""
    form = region_shift(x, masks)
    seen = _read_off(F.instance_norm(x.double(), eps=EPS), ~masks)
    known = form.known
    errors = [((ours - read).abs() / read)[known].max() for ours, read in zip(form[:2], seen, strict=True)]
    normal, off, deviation = region_norm(x, masks, eps=EPS), [], []
    for where in (masks, ~masks):
        mean, std = _moments(normal, where)
        variance = _moments(x.double(), where)[1].square()
        off.append(float(mean.abs().max()))
        deviation.append(float((std - (variance / (variance + EPS)).sqrt()).abs().max()))
    left, _ = _read_off(normal, ~masks)
    return {
        "area": area,
        "place": place,
        "shift": median(form.shift[known].tolist()),
        "ratio": median(form.ratio[known].tolist()),
        "region_shift": median(left[known].tolist()),
        "error": float(max(errors)),
        "region_mean": max(off),
        "region_std": max(deviation),
    }


def _read_off(y: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """|mean|/std and 1/std of the valid pixels of a normalised map."""
    mean, std = _moments(y, valid)
    return mean.abs() / std, 1 / std


def _moments(x: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    x, size = x.double(), where.sum((2, 3))
    mean = torch.where(where, x, 0.0).sum((2, 3)) / size
    return mean, (torch.where(where, x - mean[..., None, None], 0.0).square().sum((2, 3)) / size).sqrt()


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", minutes=0.1)
@paper.run(scale="full", minutes=0.1)
def regions(ctx: Context) -> list[dict[str, Any]]:
    """Four regions of any shape: mean and variance of each in the output."""
    draw = ctx.generator()
    x, label = 3 * torch.randn(4, 8, 32, 32, generator=draw) + 1, torch.randint(4, (4, 1, 32, 32), generator=draw)
    y, off, spread = region_norm(x, label, 4, eps=EPS), [], []
    for region in range(4):
        mean, std = _moments(y, label == region)
        variance = _moments(x, label == region)[1].square()
        off.append(float(mean.abs().max()))
        spread.append(float((std.square() - variance / (variance + EPS)).abs().max()))
    return [{"four_mean": max(off), "four_variance": max(spread)}]


def _inpainting(ctx: Context, style: str) -> list[dict[str, Any]]:
    try:
        pictures, test = _photographs(ctx)
    except data.DataNotFound as error:
        return _missing(error)
    images = _crops(test, ctx.pick(smoke=8, embedded=128), 24, torch.Generator().manual_seed(1))
    records = []
    for method, norm in PAIRS[style]:
        torch.manual_seed(ctx.seed)
        generator = InpaintGenerator(norm=norm, style=style, **SMALL)
        steps = ctx.pick(smoke=3, embedded=400, full=4000)
        train(generator, Examples(pictures, 24), DISTANCES, steps=steps, batch_size=8, seed=ctx.seed)
        for bucket in evaluate(generator, images, buckets=BUCKETS, batch_size=8, seed=2):
            records.append(
                {"method": method, "area": bucket.area[0], "psnr": bucket.psnr, "ssim": bucket.ssim, "l1": bucket.l1}
            )
        if ctx.seed == 0:
            records.append({"method": method, "pictures": _exhibit(generator, images[:8])})
    return records


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=3, minutes=1)
@paper.run(scale="full", seeds=5, minutes=10)
def inpainting_by_batch(ctx: Context) -> list[dict[str, Any]]:
    """Batch norm against region norm in its batch style: PSNR by the size of the holes."""
    return _inpainting(ctx, "batch")


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=3, minutes=1)
@paper.run(scale="full", seeds=5, minutes=10)
def inpainting_by_instance(ctx: Context) -> list[dict[str, Any]]:
    """Instance norm against region norm in the paper's style: PSNR by the size of the holes."""
    return _inpainting(ctx, "instance")


@paper.run(scale="full", minutes=20, alone=True)
def on_a_gpu(ctx: Context) -> list[dict[str, Any]]:
    """The paper's networks at 256×256 with the discriminator: pictures a second, memory, and RN-B against IN."""
    if not torch.cuda.is_available():
        return []
    pictures = torch.randint(256, (28, 3, 256, 256), dtype=torch.uint8, generator=ctx.generator())
    records: list[dict[str, Any]] = []
    for norm in ("in", "rn"):
        torch.manual_seed(ctx.seed)
        generator, examples = InpaintGenerator(norm=norm).cuda(), Examples(pictures, 256)
        train(generator, examples, steps=5)
        torch.cuda.reset_peak_memory_stats()
        history = train(generator, examples, steps=50)
        peak = torch.cuda.max_memory_allocated() / 2**30
        records.append({"network": norm, "pictures_a_second": 50 * 14 / history.seconds, "gigabytes": peak})
    x = torch.randn(14, 64, 256, 256, device="cuda")
    masks = data.random_masks(14, 256, generator=ctx.generator()).cuda()
    ours, theirs = RNB(64).cuda(), torch.nn.InstanceNorm2d(64, affine=True).cuda()
    with torch.no_grad():
        return [*records, {"rnb_over_in": _milliseconds(lambda: ours(x, masks)) / _milliseconds(lambda: theirs(x))}]


def _milliseconds(call: Callable[[], Tensor]) -> float:
    """Median over 30 calls on the GPU."""
    times = []
    for _ in range(40):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return median(times[10:])


@torch.no_grad()
def _exhibit(generator: InpaintGenerator, images: Tensor) -> str:
    """Input, mask, output and truth of eight pictures, one a column: bytes (4·24, 8·24, 3) as hexadecimal digits."""
    masks = data.random_masks(len(images), 24, "irregular", (0.2, 0.3), torch.Generator().manual_seed(3))
    output = merged(generator.eval()(images, masks), images, masks)
    rows = [torch.where(masks, 1.0, images), masks.float().expand_as(images), output, images]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    return (sheet.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy().tobytes().hex()


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The shift and its closed form, the gain like against like, and regions of any number."""
    missing = next(iter(records.distinct("missing")), None)
    _judge_shift(records, claim, show, missing)
    _judge_inpainting(records, claim, show, missing)
    four = records.values("four_mean")
    claim("four regions: largest |mean| of a region in the output", max(four), at_most=1e-5, n=1, source="section 3.1")
    claim(
        "four regions: largest distance of a region's variance from v/(v + eps)",
        records.largest("four_variance"),
        at_most=1e-3,
        n=1,
        source="section 3.1",
    )
    claim(
        "RN beats earlier inpainting networks on Places2 and CelebA in PSNR, SSIM and L1",
        at_least=0.0,
        source="abstract",
        reason="needs the full size: 256×256 pictures of those sets, the adversarial recipe and a GPU",
    )
    measured = next(iter(records.distinct("rnb_over_in")), None)
    claim(
        "256×256, 64 channels: time of RN-B over that of InstanceNorm2d",
        measured,
        at_most=1.5,
        source="this project's own bound",
        reason=None if measured else "needs a GPU; on a CPU `normkit bench region_norm` measures it",
    )
    if found := records.groups("network", "pictures_a_second", "gigabytes"):
        headers = ["norm", "pictures a second", "GiB"]
        show.table(headers, [list(row) for row in found], caption="Training at 256×256, batch 14, on a GPU")


def _judge_shift(records: Records, claim: Ledger, show: Show, missing: str | None) -> None:
    def figure(name: str) -> float | None:
        return None if missing else records.largest(name)

    own = "derived in normkit.diagnosis.masked_region; section 3 for the pathology"
    count = len(records.where(run="shift"))
    claim(
        "shift and ratio: largest relative error of the closed form against InstanceNorm's output",
        figure("error"),
        at_most=0.02,
        n=None if missing else count,
        source=own,
        reason=missing,
    )
    claim(
        "RN: largest |mean| of a region in the output",
        figure("region_mean"),
        at_most=1e-5,
        n=None if missing else count,
        source="section 3.1",
        reason=missing,
    )
    claim(
        "RN: largest distance of a region's deviation from sqrt(v/(v + eps))",
        figure("region_std"),
        at_most=1e-3,
        n=None if missing else count,
        source="section 3.1",
        reason=missing,
    )
    if missing:
        return
    columns = ("area", "place", "shift", "ratio", "region_shift")
    rows = [[record[column] for column in columns] for record in records.where(run="shift")]
    show.table(
        ["hole", "at", "shift of the mean", "ratio of the deviations", "shift under region norm"],
        rows,
        caption="Valid pixels under InstanceNorm, medians over pictures and channels",
    )

    def draw(axes: Any) -> None:
        for place in ("input", "features"):
            found = records.where(run="shift", place=place)
            axes.plot([r["area"] for r in found], [r["shift"] for r in found], "o-", label=f"InstanceNorm, {place}")
        axes.plot([r["area"] for r in found], [r["region_shift"] for r in found], "o-", label="region norm, features")
        axes.set(xlabel="share of the pixels that is a hole", ylabel="shift of the mean, deviations")
        axes.legend()

    show.figure(
        draw,
        caption="What a hole filled with 1 does to the valid pixels",
        alt="the shift grows with the hole under InstanceNorm and is 0 under region norm",
    )


def _judge_inpainting(records: Records, claim: Ledger, show: Show, missing: str | None) -> None:
    source = "abstract; the size of the gain is this project's own measurement at 24×24 pixels"

    def gain(ours: str, theirs: str) -> float | None:
        return None if missing else records.mean("psnr", method=ours) - records.mean("psnr", method=theirs)

    for ours, theirs, least in (("RN, batch", "BN", 0.6), ("RN, instance", "IN", 0.2)):
        claim(
            f"{ours} above {theirs}: PSNR, mean over three sizes of holes, dB",
            gain(ours, theirs),
            at_least=least,
            source=source,
            reason=missing,
        )
    if missing:
        show.table(["", ""], [["not measured", missing]], caption="Inpainting")
        show.figure(
            lambda axes: axes.text(0.5, 0.5, "no photographs here", ha="center"),
            caption="Inpainting",
            alt="nothing was measured",
        )
        return
    rows = [
        [method, f"{area:.0%} – {area + 0.1:.0%}", g.mean("psnr"), g.mean("ssim"), g.mean("l1")]
        for (method, area), g in records.groups("method", "area").items()
    ]
    show.table(["norm", "hole", "PSNR, dB", "SSIM", "distance in the hole"], rows, caption="Mean over the seeds")
    for method in records.distinct("method"):
        for sheet in records.values("pictures", method=method)[:1]:
            pixels = np.frombuffer(bytes.fromhex(sheet), dtype=np.uint8).reshape(4 * 24, 8 * 24, 3)
            show.figure(
                lambda axes, pixels=pixels: _pin(axes, pixels),
                alt=f"eight pictures repaired by {method}",
                caption=f"{method}: input, mask, output, truth",
            )


def _pin(axes: Any, pixels: Any) -> None:
    axes.imshow(pixels)
    axes.set_yticks([12, 36, 60, 84], ["input", "mask", "output", "truth"])
    axes.set_xticks([])
    axes.grid(visible=False)


@paper.invariance(tolerance=1e-9)
def size_and_fill_of_the_hole(
    generator: torch.Generator,
) -> tuple[Float[Tensor, "2 3 8 8"], Float[Tensor, "2 3 8 8"]]:
    """The valid pixels do not see what a hole is filled with."""
    x, masks = (
        torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64),
        data.random_masks(2, 8, "irregular", (0.2, 0.5), generator),
    )
    outputs = [region_norm(torch.where(masks, fill, x), masks) for fill in (100.0, 1.0)]
    return outputs[0].masked_fill(masks, 0.0), outputs[1].masked_fill(masks, 0.0)
