"""Private similarity of photographs by the features of a pretrained network, and what it is compared with there."""

import math
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from torch import nn
from torch.nn import functional as F

from normkit import data
from normkit.estimators import PrivateSimilarityClassifier
from normkit.models import MobileNetV2, mobilenet_v2
from normkit.papers import Context, Ledger, Records, Show
from normkit.papers._private_peers import processor_seconds, train_privately

__all__ = ["judge_photographs", "measure_photographs"]

EPSILONS = (0.1, 0.5, 1.0, 4.0)
DELTA = 1e-5
SIMILARITIES: dict[str, dict[str, Any]] = {
    "inner product": {"similarity": "inner"},
    "Gaussian, D = 300": {"similarity": "gaussian", "bandwidth": 1.0, "n_features": 300},
}
EXPECTED = {"inner product": (36.5, 57.9, 59.5, 61.1), "Gaussian, D = 300": (18.7, 45.8, 53.5, 57.4)}
"""Accuracy in % at `EPSILONS`, as an earlier trial measured it on 1,000 images."""

GRADIENTS = "private gradients, linear"
_COLORS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation that the network was trained with
_STEPS, _RATE = 40, 8.0  # as for the digits


class Photographs(NamedTuple):
    """Unit rows of features and labels, the private ones and those of the test."""

    X: Float[ndarray, "n features"]
    y: Int[ndarray, " n"]
    X_test: Float[ndarray, "tests features"]
    y_test: Int[ndarray, " tests"]


def measure_photographs(ctx: Context) -> list[dict[str, Any]]:
    """Accuracy over the budget, and times side by side; features are computed once, the noise drawn anew each time.

    Raises:
        DataNotFound: the photographs or the network's weights are not on this machine.
    """
    split = _noise_images(ctx) if ctx.scale == "smoke" else _cifar10_mini(ctx.seed)
    records = [_without_privacy(split, *each) for each in _PLAIN]
    for epsilon in ctx.pick(smoke=(1.0,), embedded=EPSILONS):
        for repeat in range(ctx.pick(smoke=1, embedded=5)):
            for method in SIMILARITIES:
                accuracy = _similar(split, method, epsilon, repeat)
                records.append({"method": method, "epsilon": epsilon, "accuracy": accuracy})
            accuracy = _descended(split, epsilon, repeat, form_rows=False)
            records.append({"method": GRADIENTS, "epsilon": epsilon, "accuracy": accuracy})
    rounds, steps, calls = ctx.pick(smoke=(1, 1, 1), embedded=(2, _STEPS, 5))
    return [*records, *_times(split, rounds, steps, calls)]


def _cifar10_mini(seed: int) -> Photographs:
    bunch, network, rng = data.load("cifar10-mini"), mobilenet_v2("imagenet"), np.random.default_rng(seed)
    train, test = (rng.permutation(bunch.split[part])[:count] for part, count in (("train", 4_000), ("test", 1_000)))
    assert bunch.y is not None
    X, X_test = (unit_rows(pooled_features(network, bunch.X[part], 96)) for part in (train, test))
    return Photographs(X, bunch.y[train], X_test, bunch.y[test])


def _noise_images(ctx: Context) -> Photographs:
    """A stand-in that takes no time: noise, a narrow fresh network, the first of its features."""
    images = torch.randint(256, (60, 32, 32, 3), dtype=torch.uint8, generator=ctx.generator()).numpy()
    X, y = pooled_features(MobileNetV2(10, 0.1), images, 32)[:, :64], np.arange(60) % 10
    X = unit_rows(X)
    return Photographs(X[:40], y[:40], X[40:], y[40:])


def pooled_features(
    network: MobileNetV2, images: UInt8[ndarray, "n height width 3"], size: int
) -> Float[ndarray, "n features"]:
    """The last feature maps' mean over an image, resized to `size`² and in the colors that the network knows."""
    network.eval()
    mean, deviation = (torch.tensor(values)[:, None, None] for values in _COLORS)
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), 50):
            x = (torch.from_numpy(images[start : start + 50]).permute(0, 3, 1, 2) / 255 - mean) / deviation
            x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False)
            found.append(network.features(x).mean((2, 3)))
    return torch.cat(found).double().numpy()


def unit_rows(features: Float[ndarray, "n features"]) -> Float[ndarray, "n features"]:
    """log(1 + x) less its mean over the row, of norm 1: nothing of another row goes in."""
    rows = np.log1p(features)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


_PLAIN: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("nearest mean", NearestCentroid),
    ("logistic regression", lambda: LogisticRegression(max_iter=300)),
)


def _without_privacy(split: Photographs, method: str, make: Callable[[], Any]) -> dict[str, Any]:
    fitted = make().fit(split.X, split.y)
    return {"method": method, "accuracy": float(fitted.score(split.X_test, split.y_test))}


def _similar(split: Photographs, method: str, epsilon: float, seed: int) -> float:
    classifier = PrivateSimilarityClassifier(
        epsilon=epsilon, delta=DELTA, classes=range(10), random_state=seed, **SIMILARITIES[method]
    )
    return float(np.mean(classifier.fit(split.X, split.y).predict(split.X_test) == split.y_test))


def _descended(split: Photographs, epsilon: float, seed: int, *, form_rows: bool, steps: int = _STEPS) -> float:
    model = nn.Linear(split.X.shape[1], 10)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    X, X_test = (torch.from_numpy(part).float() for part in (split.X, split.X_test))
    y = torch.from_numpy(split.y)
    train_privately(model, X, y, epsilon, DELTA, steps=steps, lr=_RATE, seed=seed, form_rows=form_rows)
    with torch.no_grad():
        return float(np.mean(model(X_test).argmax(1).numpy() == split.y_test))


def _times(split: Photographs, rounds: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """Training and queries at ε = 1 of each method by turns, after a first call of each that does not count."""

    def calls(steps: int) -> dict[str, Callable[[], float]]:
        similar = {method: lambda method=method: _similar(split, method, 1.0, 0) for method in SIMILARITIES}
        return similar | {
            GRADIENTS: lambda: _descended(split, 1.0, 0, form_rows=False, steps=steps),
            f"{GRADIENTS}, one a row": lambda: _descended(split, 1.0, 0, form_rows=True, steps=steps),
        }

    for call in calls(1).values():
        call()
    records = []
    for _ in range(rounds):
        seconds = {
            method: median(processor_seconds(call) for _ in range(repeats if method in SIMILARITIES else 1))
            for method, call in calls(steps).items()
        }
        records += [{"method": m, "seconds": s, "slower": s / seconds["inner product"]} for m, s in seconds.items()]
    return records


def judge_photographs(runs: Records, claim: Ledger, show: Show) -> None:
    """Accuracy against what is to be expected, the time against private gradients, and what the paper has beyond."""
    missing = next(iter(runs.distinct("missing")), None)
    source = "an earlier trial, less two standard errors of the difference between two tests of 1,000 images"

    def accuracy(method: str, epsilon: float) -> float | None:
        return None if missing else 100 * runs.mean("accuracy", method=method, epsilon=epsilon)

    for method, least in EXPECTED.items():
        for epsilon, expected in zip(EPSILONS, least, strict=True):
            if epsilon not in runs.distinct("epsilon") and not missing:
                continue
            bar = round(expected - 2 * math.sqrt(2 * expected * (100 - expected) / 1_000), 1)
            statement = f"photographs by pretrained features, {method}: accuracy at ε = {epsilon}, δ = 1e-5, %"
            claim(statement, accuracy(method, epsilon), at_least=bar, source=source, reason=missing)
    claim(
        "photographs: times faster than a linear model trained with private gradients, one gradient a row",
        None if missing else runs.mean("slower", method=f"{GRADIENTS}, one a row"),
        at_least=40,
        source="abstract: orders of magnitude; half of what an earlier trial measured",
        reason=missing,
    )
    apart = None if missing else accuracy("inner product", 1.0) - accuracy(GRADIENTS, 1.0)  # type: ignore[operator]
    claim(
        "CIFAR-10 from pretrained features: accuracy less that of private training at ε = 1, points",
        apart,
        at_least=0,
        source="abstract: comparable accuracy",
        reason=missing or "parity needs 50 000 images and the features of a stronger network; here are 4 000",
    )
    if not missing:
        _show(runs, show)


def _show(runs: Records, show: Show) -> None:
    epsilons = runs.distinct("epsilon")
    private = {
        method: [100 * group.mean("accuracy", epsilon=epsilon) for epsilon in epsilons]
        for (method,), group in runs.groups("method").items()
        if group.where(epsilon=epsilons[0])
    }
    plain = {name: 100 * runs.mean("accuracy", method=name) for name, _ in _PLAIN}
    rows: list[list[Any]] = [[method, *accuracies, "–"] for method, accuracies in private.items()]
    rows += [[method, *["–"] * len(epsilons), value] for method, value in plain.items()]
    show.table(
        ["method", *(f"ε = {epsilon}" for epsilon in epsilons), "not private"],
        rows,
        caption="Photographs by the features of MobileNetV2: test accuracy in %, δ = 1e-5",
    )
    times = [[m, g.mean("seconds"), g.mean("slower")] for (m,), g in runs.groups("method").items() if "slower" in g[-1]]
    show.table(["method", "seconds", "times the inner product's"], times, caption="Training and queries at ε = 1")

    def draw(axes: Any) -> None:
        for method, accuracies in private.items():
            axes.plot(epsilons, accuracies, "o-", label=method)
        for style, (method, value) in zip(("--", ":"), plain.items(), strict=True):
            axes.axhline(value, linestyle=style, color="gray", label=f"{method}, not private")
        axes.set(xscale="log", xlabel="ε", ylabel="test accuracy, %")
        axes.legend()

    show.figure(
        draw,
        caption="Photographs by pretrained features: accuracy over the budget",
        alt="test accuracy of each method over ε, and what is reached without privacy",
    )
