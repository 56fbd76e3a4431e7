"""The inpainting networks, their losses and figures, training that resumes, and one photograph filled in."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normkit.data import random_masks
from normkit.models import inpainting
from normkit.models.inpainting import (
    ADVERSARIAL,
    DISTANCES,
    Examples,
    InpaintDiscriminator,
    InpaintGenerator,
    evaluate,
    fill,
    load_generator,
    merged,
    psnr,
    save_generator,
    ssim,
    train,
)
from normkit.nn import RNB, RNL

SMALL = {"width": 4, "blocks": 1, "downs": 1, "kernel_size": 5, "init_scale": 1.0}


def pictures(count: int = 8, size: int = 32) -> Tensor:
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)


def in_bytes() -> Tensor:
    return (pictures() * 255).to(torch.uint8)


def holes(count: int = 8, size: int = 32) -> Tensor:
    return random_masks(count, size, "irregular", (0.2, 0.4), torch.Generator().manual_seed(1))


def test_the_papers_generator_has_its_layers() -> None:
    with torch.device("meta"):
        generator = InpaintGenerator()
        assert generator(torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)).shape == (2, 3, 64, 64)
    convolutions = [m for m in generator.modules() if isinstance(m, torch.nn.Conv2d) and m.out_channels > 1]
    shapes = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in convolutions]
    assert shapes[:3] == [(3, 64, 7), (64, 128, 4), (128, 256, 4)]
    assert shapes[3:-3] == [(256, 256, 3)] * 16
    assert shapes[-3:] == [(256, 512, 3), (128, 256, 3), (64, 3, 7)]
    assert sum(isinstance(m, RNB) for m in generator.modules()) == 3
    assert sum(isinstance(m, RNL) for m in generator.modules()) == 18


def test_the_weights_start_at_a_tenth_of_kaiming() -> None:
    generator = InpaintGenerator(width=32, blocks=1)
    weight = generator.middle[0].conv1.weight.detach()
    assert float(weight.std()) == pytest.approx(0.1 * (2 / (128 * 9)) ** 0.5, rel=0.05)
    assert not generator.middle[0].conv1.bias.any()
    assert float(generator.middle[0].norm1.sa.conv1.weight.detach().abs().max()) <= 98**-0.5


@pytest.mark.parametrize("norm", ["rn", "in", "bn", "none"])
def test_the_hole_is_not_looked_at(norm: str) -> None:
    """What was in the hole cannot matter: it is filled with 1 before anything else."""
    torch.manual_seed(0)
    generator, x, masks = InpaintGenerator(norm=norm, **SMALL), pictures(), holes()
    assert torch.equal(generator(x, masks), generator(torch.where(masks, 0.3, x), masks.float()))
    assert generator(x, masks).min() >= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "ln"}, "norm is one of 'rn', 'in', 'bn', 'none', not 'ln'"),
        ({"kernel_size": 4}, "the kernel is odd"),
        ({"width": 0}, "width is at least 1"),
        ({"style": "layer"}, "style is 'instance' or 'batch', not 'layer'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InpaintGenerator(**{**SMALL, **options})


def test_sides_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="the sides must be multiples of 2, got 31×32"):
        InpaintGenerator(**SMALL)(torch.rand(1, 3, 31, 32), torch.zeros(1, 1, 31, 32))
    with pytest.raises(ValueError, match=r"a side needs 12 pixels or more, .* got 8×8"):
        InpaintGenerator(width=4, blocks=1)(torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))
    InpaintGenerator(width=4, blocks=1)(torch.rand(1, 3, 12, 12), torch.zeros(1, 1, 12, 12))
    with pytest.raises(ValueError, match="24×24 pixels or more, got 16×16"):
        InpaintDiscriminator(4)(torch.rand(1, 3, 16, 16))


def test_the_discriminator_judges_patches() -> None:
    judge = InpaintDiscriminator(4)
    assert judge(pictures(2, 64)).shape == (2, 1, 6, 6)
    assert not any(name.endswith("bias") for name, _ in judge.named_parameters())
    torch.testing.assert_close(judge.eval()(pictures()), torch.sigmoid(judge.logits(pictures())))


def test_losses_are_those_of_their_formulas() -> None:
    x, masks, g = pictures(), holes(), torch.rand(8, 3, 32, 32)
    inside = masks.expand_as(x)
    torch.testing.assert_close(inpainting.hole_l1(g, x, masks), (g - x)[inside].abs().mean())
    judged = torch.randn(8, 1, 2, 2)
    wanted = (g - x)[inside].abs().mean() - 0.1 * torch.log(torch.sigmoid(judged)).mean() + 0.3 * (g - x).abs().mean()
    torch.testing.assert_close(inpainting.generator_loss(g, x, masks, judged, full_weight=0.3), wanted)
    real, fake = torch.sigmoid(judged), torch.sigmoid(-judged)
    wanted = -0.5 * (real.log().mean() + (1 - fake).log().mean())
    torch.testing.assert_close(inpainting.discriminator_loss(judged, -judged), wanted)
    assert inpainting.hole_l1(g, x, masks & False) == 0


def test_psnr_and_ssim() -> None:
    x, y = pictures().double(), (pictures() + 0.1).double()
    torch.testing.assert_close(psnr(y, x), torch.full((8,), 20.0).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(ssim(x, x), torch.ones(8).double())
    assert (ssim(1 - x, x) < 0.2).all()
    with pytest.raises(ValueError, match="the window has 11×11 pixels"):
        ssim(torch.rand(1, 3, 10, 20), torch.rand(1, 3, 10, 20))


def test_ssim_is_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, y = pictures().double(), (pictures() * 0.8 + 0.2 * torch.rand(8, 3, 32, 32)).double()
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    wanted = [
        metrics.structural_similarity(a.numpy(), b.numpy(), channel_axis=0, **options)
        for a, b in zip(y, x, strict=True)
    ]
    torch.testing.assert_close(ssim(y, x), torch.tensor(wanted))


def test_training_by_distances_learns_and_resumes_to_the_same(tmp_path: Path) -> None:
    def run(steps: int, path: Path) -> tuple[InpaintGenerator, list[float]]:
        torch.manual_seed(0)
        generator = InpaintGenerator(**SMALL)
        recipe = inpainting.Recipe(rate=3e-3, discriminator_rate=None, full_weight=0.1, decay=1.0)
        history = train(generator, Examples(in_bytes(), 16), recipe, steps=steps, batch_size=4, checkpoint=path)
        return generator, history.losses

    whole, losses = run(24, tmp_path / "whole.safetensors")
    run(9, tmp_path / "parts.safetensors")
    resumed, again = run(24, tmp_path / "parts.safetensors")
    assert sum(losses[-6:]) < 0.95 * sum(losses[:6])
    assert losses == again
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_training_with_the_discriminator_moves_both_and_each_by_its_own_loss() -> None:
    torch.manual_seed(0)
    generator, judge = InpaintGenerator(**SMALL), InpaintDiscriminator(4)
    before = [{k: v.clone() for k, v in net.named_parameters()} for net in (generator, judge)]
    train(generator, Examples(in_bytes(), 24), ADVERSARIAL, steps=2, batch_size=4, discriminator=judge)
    for net, was, rate in ((generator, before[0], 1e-4), (judge, before[1], 1e-5)):
        moved = [float((v - was[k]).detach().abs().max()) for k, v in net.named_parameters()]
        assert max(moved) == pytest.approx(2 * rate, rel=0.3)  # Adam's step is about the rate
    pair = inpainting.training._Pair(generator, judge, ADVERSARIAL).eval()  # the spectral norms stand still
    pair.zero_grad()
    x, masks = pictures(2, 24), holes(2, 24)
    pair(x, masks).backward()
    real, fake = judge.logits(x), judge.logits(generator(x, masks).detach())
    own = torch.autograd.grad(inpainting.discriminator_loss(real, fake), list(judge.parameters()))
    for parameter, gradient in zip(judge.parameters(), own, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)


def test_the_rates_fall_as_in_the_authors_code() -> None:
    schedule = ADVERSARIAL.schedule(10)
    assert [round(schedule(step, 40), 4) for step in (0, 10, 20, 30)] == [1.0, 1.0, 0.8, 0.64]
    schedule = DISTANCES.schedule(10)
    assert [schedule(step, 40) for step in (0, 27, 28, 39)] == [1.0, 1.0, 0.2, 0.2]


def test_evaluation_by_hole_size_follows_from_its_seed() -> None:
    torch.manual_seed(0)
    generator = InpaintGenerator(**SMALL).train()
    buckets = evaluate(generator, pictures(), seed=3)
    assert [each.area for each in buckets] == list(inpainting.BUCKETS)
    assert buckets == evaluate(generator, pictures(), seed=3)
    assert generator.training
    assert buckets[0].psnr > buckets[-1].psnr
    (own,) = evaluate(generator, pictures(), masks=holes())
    whole = merged(generator.eval()(pictures(), holes()), pictures(), holes()).detach()
    assert own.psnr == pytest.approx(float(psnr(whole, pictures()).mean()), abs=1e-3)
    with pytest.raises(ValueError, match="no mask holds a hole"):
        evaluate(generator, pictures(), masks=holes() & False)


def test_fill_changes_the_hole_alone_and_takes_any_size() -> None:
    torch.manual_seed(0)
    generator = InpaintGenerator(width=4, blocks=1, downs=2, init_scale=1.0)
    image, mask = pictures(1, 33)[0, :, :30], holes(1, 33)[0, :, :30]
    whole = fill(generator, image, mask)
    keep = ~mask.expand_as(image)
    assert torch.equal(whole[keep], image[keep])
    longer = [torch.cat([each, *[each[:, -1:]] * 2], 1)[..., [*range(33), *[32] * 3]] for each in (image, mask.float())]
    with torch.no_grad():
        prediction = generator.eval()(*(each[None] for each in longer))[0, :, :30, :33]
    assert torch.equal(whole[~keep], prediction[~keep])
    with pytest.raises(ValueError, match="the mask holds no hole: paint white"):
        fill(generator, image, mask & False)
    with pytest.raises(ValueError, match="30×33 pixels and the mask 30×32"):
        fill(generator, image, mask[..., :-1])


def test_a_checkpoint_holds_the_network_whole(tmp_path: Path) -> None:
    generator = InpaintGenerator(norm="in", **SMALL)
    save_generator(tmp_path / "a.safetensors", generator)
    loaded = load_generator(tmp_path / "a.safetensors")
    assert loaded.options == generator.options
    assert torch.equal(loaded(pictures(), holes()), generator.eval()(pictures(), holes()))
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-7])
    with pytest.raises(ValueError, match="holds no inpainting network"):
        load_generator(tmp_path / "b.safetensors")
    with pytest.raises(FileNotFoundError, match="is no file"):
        load_generator(tmp_path / "c.safetensors")


def test_examples_cut_and_mirror(tmp_path: Path) -> None:
    batch = Examples(in_bytes(), 48).__getitems__([0, 1, 2])  # smaller than the crop: enlarged
    assert batch["images"].shape == (3, 3, 48, 48)
    assert batch["images"].max() <= 1
    with pytest.raises(ValueError, match="0 pictures"):
        Examples([], 8)
    with pytest.raises(ValueError, match="8 pictures make no batch of 9"):
        train(InpaintGenerator(**SMALL), Examples(in_bytes(), 16), DISTANCES, steps=1, batch_size=9)
