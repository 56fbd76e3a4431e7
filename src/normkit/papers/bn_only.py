"""Training BatchNorm and Only BatchNorm (Frankle, Schwab, Morcos 2021)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from normkit import data, training
from normkit.models import CIFARResNet, cifar_resnet
from normkit.papers import Context, Ledger, Paper, Records, Show
from normkit.weights import (
    affine_state_dict,
    freeze,
    gamma_report,
    load_affine_state_dict,
    random_features_,
    reinit_affine_,
    subset_masks,
)

__all__ = ["paper"]

paper = Paper(
    slug="bn-only",
    title="Training BatchNorm and Only BatchNorm: On the Expressive Power of Random Features in CNNs",
    authors=("Jonathan Frankle", "David J. Schwab", "Ari S. Morcos"),
    year=2021,
    arxiv="2003.00152",
    nuisance="the weights that are trained together with γ and β, and hide what these contribute",
    pathology="What the affine parameters of a normaliser contribute is not seen beside trained weights, and a network "
    "that is trained whole is stored whole for every task.",
    remedy="Freeze every weight and train γ and β alone: a fixed bank of random features, shifted and rescaled.",
    provides=(
        "normkit.weights.freeze",
        "normkit.weights.RandomSubset",
        "normkit.weights.affine_state_dict",
        "normkit.weights.gamma_report",
        "normkit.weights.prune_disabled",
        "normkit.weights.reinit_affine_",
        "normkit.conversion.AffineOnly",
        "normkit.models.CIFARResNet",
    ),
    rule="affine-only",
)

CIFAR10 = ((14, 16), (32, 16), (56, 16), (110, 16), (14, 32), (14, 64), (14, 128))  # depth, width
CONDITIONS = ("affine", "output", "random")


def _network(ctx: Context, depth: int) -> CIFARResNet:
    """A net drawn from the seed; γ ~ U[0, 1], β = 0."""
    torch.manual_seed(ctx.seed)
    model = cifar_resnet(depth, ctx.pick(smoke=4, embedded=16), in_channels=1)
    return reinit_affine_(random_features_(model))


def _frozen(model: nn.Module) -> dict[str, Tensor]:
    """What must not move: every tensor that does not train, and of those that train in part the entries that do not."""
    kept = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    for path, mask in subset_masks(model).items():
        kept[path] = _weight(model, path)[~mask].clone()
    return kept


def _weight(model: nn.Module, path: str) -> Tensor:
    weight = model.get_submodule(path).weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _train(ctx: Context, condition: str, depth: int = 14) -> dict[str, Any]:
    """The paper's recipe for CIFAR at the size of the digits: batch 64, 500 steps, no augmentation."""
    x_train, y_train, x_test, y_test = data.digits("unit")
    depth = ctx.pick(smoke=8, embedded=depth)
    model = _network(ctx, depth)
    chosen = freeze(model, condition)
    before = _frozen(model)
    training.fit(
        model,
        data.batches(x_train, y_train, 64, seed=ctx.seed, drop_last=True),
        steps=ctx.pick(smoke=2, embedded=500),
        optimizer=_sgd,
        schedule=training.step_decay(),
        seed=ctx.seed,
    )
    after = _frozen(model)
    gammas = gamma_report(model, data=[x_test])
    return {
        "condition": condition,
        "depth": depth,
        "trained": chosen.count,
        "share": chosen.share,
        "accuracy": training.accuracy(model, x_test, y_test),
        "moved": sum(not torch.equal(before[name], after[name]) for name in before),
        "disabled": gammas.share,
        "below_0.05": gamma_report(model, 0.05).share,
        "silent": gammas.silent_share,
        "gains": gammas.gains.tolist() if condition == "affine" else [],
    }


def _sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=1e-4)


@paper.run(scale="smoke", minutes=0.03)
@paper.run(scale="embedded", seeds=3, minutes=2)
@paper.run(scale="full", seeds=3, minutes=2)
def frozen_features(ctx: Context) -> list[dict[str, Any]]:
    """Accuracy where γ and β train alone, the output layer alone, or as many weights as γ and β at random places."""
    return [_train(ctx, condition) for condition in CONDITIONS]


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", minutes=2)
@paper.run(scale="full", minutes=2)
def whole_and_deeper(ctx: Context) -> list[dict[str, Any]]:
    """For comparison, one seed: everything trained, and γ and β alone in a net of 26 layers."""
    return [_train(ctx, "all"), _train(ctx, "affine", depth=26)]


@paper.run(scale="full", seeds=3, minutes=1200)
def cifar10(ctx: Context) -> list[dict[str, Any]]:
    """The paper's own: CIFAR-10, 160 epochs with γ and β alone, by depth and by width; a GPU is used where there is."""
    bunch = data.load("cifar10")
    return [_cifar10(ctx, bunch, depth, width) for depth, width in CIFAR10]


def _cifar10(ctx: Context, bunch: data.Bunch, depth: int, width: int, epochs: int = 160) -> dict[str, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = {name: bunch.part(name) for name in ("train", "test")}
    x, y = {name: data.as_images(part[0]) for name, part in parts.items()}, {n: p[1] for n, p in parts.items()}
    assert y["train"] is not None
    torch.manual_seed(ctx.seed)
    model = reinit_affine_(random_features_(cifar_resnet(depth, width))).to(device)
    chosen = freeze(model)
    training.fit(
        model,
        data.batches(x["train"], y["train"], 128, seed=ctx.seed, drop_last=True),
        epochs=epochs,
        forward=lambda net, batch: net(data.crop_and_flip(batch[0])),
        optimizer=_sgd,
        schedule=training.step_decay(warmup=0.02),
        seed=ctx.seed,
    )
    accuracy = training.accuracy(model, x["test"].to(device), torch.as_tensor(y["test"]).to(device))
    return {"depth": depth, "width": width, "trained": chosen.count, "accuracy": accuracy}


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The gap to other parts of the same size; that nothing frozen has moved; what is not visible at this size."""
    source = "section 3 and figure 2 (CIFAR-10), at the size of the digits"
    runs = records.where(run="frozen_features")
    accuracy = {condition: 100 * runs.mean("accuracy", condition=condition) for condition in CONDITIONS}
    claim("accuracy with γ and β alone trained, %", accuracy["affine"], at_least=90, source=source)
    claim(
        "γ and β above as many weights at random places, points",
        accuracy["affine"] - accuracy["random"],
        at_least=20,
        source=source,
    )
    claim(
        "γ and β above the output layer alone, points",
        accuracy["affine"] - accuracy["output"],
        at_least=10,
        source=source,
    )
    moved = sum(runs.values("moved"))
    claim("frozen tensors that are not what they were, to the bit", moved, equals=0, source="exact by construction")
    claim(
        "trained elements, γ and β: random weights",
        f"{runs.mean('trained', condition='affine'):.0f}: {runs.mean('trained', condition='random'):.0f}",
        equals="1120: 1120",
        source="14 W (1 + 2 D) of section 3 and its tables, W = 16, D = 2",
    )
    claim(
        "share of channels with |γ| < 0.01 after training γ and β alone",
        runs.mean("disabled", condition="affine"),
        at_least=0.25,
        source="abstract (about a third)",
        reason="not visible after 500 steps on the digits; the paper trains 160 epochs of CIFAR-10",
    )
    _judge_cifar10(records, claim)
    _show(records, show)


def _judge_cifar10(records: Records, claim: Ledger) -> None:
    runs = records.where(run="cifar10")
    reason = None if len(runs) else "needs a GPU and 160 epochs of CIFAR-10: scale full"
    for depth, bound in ((14, 48.0), (110, 69.5)):
        measured = 100 * runs.mean("accuracy", depth=depth, width=16) if len(runs) else None
        statement = f"CIFAR-10, depth {depth}, γ and β alone: accuracy is the paper's up to 2 points, %"
        claim(statement, measured, at_least=bound - 2, source="figure 2", reason=reason)


def _show(everything: Records, show: Show) -> None:
    if len(cifar := everything.where(run="cifar10")):
        rows = [
            [d, w, int(g.mean("trained")), 100 * g.mean("accuracy")]
            for (d, w), g in cifar.groups("depth", "width").items()
        ]
        show.table(["depth", "width", "elements", "accuracy, %"], rows, caption="CIFAR-10, γ and β alone")
    records = Records(row for row in everything if row["run"] != "cifar10")
    measured = ("accuracy", "disabled", "below_0.05", "silent")
    rows = [
        [condition, depth, int(g.mean("trained")), 100 * g.mean("share"), *(100 * g.mean(name) for name in measured)]
        for (condition, depth), g in records.groups("condition", "depth").items()
    ]
    headers = ["trained part", "depth", "elements", "%", "accuracy, %", "|γ| < 0.01, %", "|γ| < 0.05, %", "silent, %"]
    show.table(headers, rows, caption="Mean over the seeds; silent channels give nothing above 0 on the test images")

    def draw(axes: Any) -> None:
        for (condition, depth), group in records.groups("condition", "depth").items():
            label = f"{condition}, {depth} layers"
            axes.plot(group.values("trained"), [100 * a for a in group.values("accuracy")], "o", label=label)
        axes.set_xscale("log")
        axes.set_xlabel("trained elements")
        axes.set_ylabel("test accuracy, %")
        axes.legend()

    caption = "Test accuracy over the number of trained elements, one point a seed"
    show.figure(draw, caption=caption, alt="γ and β alone reach most of what all parameters reach")

    def histogram(axes: Any) -> None:
        gains = [gain for row in records.where(condition="affine").values("gains") for gain in row]
        axes.hist(gains, bins=40)
        axes.set_xlabel("γ after training γ and β alone")
        axes.set_ylabel("channels")

    show.figure(histogram, caption="γ of all channels; they start uniform in 0…1", alt="A histogram of γ")


@paper.invariance(tolerance=0.0)
def another_task(generator: torch.Generator) -> tuple[Float[Tensor, "4 10"], Float[Tensor, "4 10"]]:
    """Training γ and β for another task and loading the old ones back leaves the network's function to the bit."""
    x = torch.randn(4, 1, 8, 8, generator=generator)
    model = reinit_affine_(
        random_features_(cifar_resnet(8, 4, in_channels=1), generator=generator), "uniform", generator
    )
    freeze(model)
    kept, plain = affine_state_dict(model), model.eval()(x).detach()
    F.cross_entropy(model.train()(x), torch.arange(4)).backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    assert not torch.equal(model.eval()(x), plain)  # else nothing would be shown
    load_affine_state_dict(model, kept)
    return model.eval()(x).detach(), plain
