"""Efficiently Computing Similarities to Private Datasets (Backurs, Lin, Mahabadi, Silwal, Tarnawski 2024)."""

import math
import pickle
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from normkit import data
from normkit.estimators import PrivateDistance, PrivateKernelDensity, PrivateSimilarityClassifier, gaussian_sigma
from normkit.estimators.private import tree
from normkit.estimators.private.exact import exact_distance_sums, exact_kernel_sums
from normkit.estimators.private.features import KERNELS, draw_frequencies, draw_projection, feature_sums
from normkit.estimators.private.noise import add_noise
from normkit.estimators.private.queries import fourier_answers
from normkit.papers import Context, Ledger, Paper, Records, Show
from normkit.papers._pretrained_features import judge_photographs, measure_photographs
from normkit.papers._private_audit import AUDITED, audit_fits, audit_releases, largest_move
from normkit.papers._private_peers import fresh_noise, phase_density, processor_seconds, train_privately

__all__ = ["paper"]

paper = Paper(
    slug="dp-similarity",
    title="Efficiently Computing Similarities to Private Datasets",
    authors=("Arturs Backurs", "Zinan Lin", "Sepideh Mahabadi", "Sandeep Silwal", "Jakub Tarnawski"),
    year=2024,
    arxiv="2403.08917",
    nuisance="the one row that a person adds to the data, and the number of queries that are asked of them",
    pathology="Each answer about private rows leaks, so noise must grow with the number of queries, and in many "
    "dimensions with the dimension.",
    remedy="Release one low-dimensional noisy structure, calibrated to what one row can change; every query of it is "
    "free.",
    provides=(
        "normkit.estimators.PrivateKernelDensity",
        "normkit.estimators.PrivateDistance",
        "normkit.estimators.PrivateSimilarityClassifier",
        "normkit.estimators.gaussian_sigma",
        "normkit.estimators.PrivacySpend",
        "normkit.estimators.PrivacyBudget",
        "normkit.estimators.load_private",
    ),
    extra="private",
)

SIZES = ((1_000, 10), (10_000, 14), (100_000, 14))  # rows, depth of the tree
GEOMETRIC = {(1_000, 0.1): 51, (1_000, 0.5): 32, (10_000, 0.1): 97, (10_000, 0.5): 105}
GEOMETRIC |= {(100_000, 0.1): 102, (100_000, 0.5): 939}
EPSILONS = (0.1, 0.5, 1.0)
DELTA = 1e-5
FITS = 5_000  # of each of two tables, for the audit of whole estimators
SIMILARITY = "similarity"
ROWS, LAYERS = "network, a gradient for each row", "network, no row's gradient formed"


Split = tuple[Any, Any, Any, Any]
"""Rows and labels of the private part, and those of the test."""


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", seeds=4, minutes=1)
@paper.run(scale="full", seeds=4, minutes=1)
def distances(ctx: Context) -> list[dict[str, Any]]:
    """Mean absolute error of Σ|x − y|, x ~ Beta(2, 5) in one dimension, 100 queries, ε = 1, ten releases a seed."""
    rng = np.random.default_rng(ctx.seed)
    figures: list[dict[str, Any]] = []
    for rows, depth in ctx.pick(smoke=((200, 4),), embedded=SIZES):
        X, Y = rng.beta(2, 5, (rows, 1)), rng.uniform(0, 1, (ctx.pick(smoke=5, embedded=100), 1))
        exact = exact_distance_sums(X, Y)
        counts = tree.tree_counts(tree.bin_index(X[:, 0], 0.0, 1.0, depth), depth)
        leaves, centers = counts[2**depth - 1 :], tree.bin_centers(0.0, 1.0, depth)

        def record(
            method: str, answers: Any, rows: int = rows, exact: Any = exact, figures: list[dict[str, Any]] = figures
        ) -> None:
            error = float(np.abs(answers - exact).mean())
            figures.append({"rows": rows, "method": method, "error": error, "mean": float(exact.mean())})

        record("binned", tree.distance_sums(leaves.astype(float), centers, Y[:, 0]))
        for _ in range(ctx.pick(smoke=1, embedded=10)):
            fitted = PrivateDistance(bounds=(0.0, 1.0), epsilon=1.0, depth=depth).fit(X)
            record("consistent", fitted.sum_distances(Y))
            for alpha in (0.1, 0.5):
                record(f"geometric {alpha}", fitted.set_params(query="geometric", alpha=alpha).sum_distances(Y))
            noisy = add_noise(leaves, "laplace", 1.0, "opendp").astype(float)
            record("noisy leaves", tree.distance_sums(noisy, centers, Y[:, 0]))
            record("fresh noise", fresh_noise(exact, 1.0, 1.0))
    return figures


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", seeds=4, minutes=2.5)
@paper.run(scale="full", seeds=4, minutes=2.5)
def densities(ctx: Context) -> list[dict[str, Any]]:
    """Error of a Gaussian kernel density from 400 released numbers, over 15 draws of the frequencies a seed."""
    rng = np.random.RandomState(ctx.seed)
    rows, count = ctx.pick(smoke=(200, 20), embedded=(20_000, 400))
    X, Y = rng.uniform(0, 1.5, (rows, 5)), rng.uniform(0, 1.5, (ctx.pick(smoke=5, embedded=50), 5))
    exact = exact_kernel_sums(X, Y) / rows
    figures = []
    for _ in range(ctx.pick(smoke=1, embedded=15)):
        draw = int(rng.randint(2**31))
        answers = {
            ("phases, Laplace", epsilon): answer
            for epsilon, answer in zip(EPSILONS, phase_density(X, Y, EPSILONS, count, rng), strict=True)
        }
        for epsilon in EPSILONS:
            for name, delta in (("pairs, Laplace", 0.0), ("pairs, Gaussian", 1e-6)):
                fitted = PrivateKernelDensity(epsilon=epsilon, delta=delta, n_features=count // 2, random_state=draw)
                answers[name, epsilon] = fitted.fit(X).sum(Y) / rows
        for (name, epsilon), answer in answers.items():
            figures.append({"method": name, "epsilon": epsilon, "error": float(np.abs(answer - exact).mean())})
    return figures


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", minutes=1)
@paper.run(scale="full", minutes=1)
def kernels(ctx: Context) -> list[dict[str, Any]]:
    """Largest error of each kernel's density from features alone, without noise."""
    rng = np.random.RandomState(ctx.seed)
    X, Y, count = rng.normal(size=(50, 3)), rng.normal(size=(9, 3)), ctx.pick(smoke=2_000, embedded=400_000)
    figures = []
    for kernel in KERNELS:
        W = draw_frequencies(kernel, 3, count, rng)
        found = fourier_answers(Y, W, feature_sums(X, W)[None] / 2.0**20)[:, 0]
        error = np.abs(found - exact_kernel_sums(X, Y, kernel)).max() / len(X)
        figures.append({"kernel": kernel, "error": float(error)})
    return figures


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", minutes=1.5, alone=True)
@paper.run(scale="full", minutes=1.5, alone=True)
def projections(ctx: Context) -> list[dict[str, Any]]:
    """A mixture in many dimensions: the kernel's error after projection, and the time of queries, interleaved."""
    rng = np.random.RandomState(ctx.seed)
    rows, dims, count = ctx.pick(smoke=(50, 64, 20), embedded=(5_000, 2_048, 1_000))
    centers, queries = rng.normal(size=(10, dims)), ctx.pick(smoke=5, embedded=100)
    X, Y = (
        (centers[rng.randint(10, size=n)] + rng.normal(size=(n, dims))) / math.sqrt(2 * dims) for n in (rows, queries)
    )
    exact = exact_kernel_sums(X, Y) / rows
    options = {"epsilon": 1.0, "delta": 1e-6, "n_features": count, "random_state": ctx.seed}
    fitted = {"all": PrivateKernelDensity(**options).fit(X)}
    errors = {"all": 0.0}
    for k in ctx.pick(smoke=(8,), embedded=(32, 128, 512)):
        P = draw_projection(dims, k, rng)
        errors[str(k)] = float(np.abs(exact_kernel_sums(X @ P, Y @ P) / rows - exact).mean())
        fitted[str(k)] = PrivateKernelDensity(n_projections=k, **options).fit(X)
    seconds: dict[str, list[float]] = {name: [] for name in fitted}
    for _ in range(ctx.pick(smoke=1, embedded=100)):
        for name in rng.permutation(list(fitted)):
            seconds[name].append(processor_seconds(lambda name=name: fitted[name].sum(Y)))
    ratio = {name: float(np.median(np.divide(seconds["all"], each))) for name, each in seconds.items()}
    return [
        {"kept": name, "error": errors[name], "faster": ratio[name], "mean": float(exact.mean())} for name in fitted
    ]


def _digits(ctx: Context) -> Split:
    """Rows of norm 1, 360 of them for the test, drawn anew for each seed."""
    bunch = data.load("digits")
    X = bunch.X.reshape(len(bunch.X), -1).astype(np.float64)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    order = np.random.default_rng(ctx.seed).permutation(len(X))
    test, train = order[:360], order[360 : ctx.pick(smoke=560, embedded=len(X))]
    assert bunch.y is not None
    return X[train], bunch.y[train], X[test], bunch.y[test]


def _similarity(split: Split, count: int, epsilon: float, seed: int, noise: str = "opendp") -> float:
    """Accuracy of the digits by similarity in `count` frequencies."""
    X, y, X_test, y_test = split
    classifier = PrivateSimilarityClassifier(
        bandwidth=0.5,
        epsilon=epsilon,
        delta=DELTA,
        n_features=count,
        classes=range(10),
        noise=noise,
        random_state=seed,
    )
    return float(np.mean(classifier.fit(X, y).predict(X_test) == y_test))


def _trained(split: Split, model: nn.Module, epsilon: float, seed: int, **options: Any) -> float:
    """Accuracy of the digits by `model` after full-batch descent along private gradients."""
    X, y, X_test, y_test = (torch.as_tensor(part) for part in split)
    train_privately(model, X.float(), y, epsilon, DELTA, seed=seed, **options)
    with torch.no_grad():
        return (model(X_test.float()).argmax(1) == y_test).double().mean().item()


@paper.run(scale="smoke", minutes=0.002)
@paper.run(scale="embedded", seeds=5, minutes=0.5)
@paper.run(scale="full", seeds=5, minutes=0.5)
def digits(ctx: Context) -> list[dict[str, Any]]:
    """Accuracy on the digits by similarity, and by a linear model trained with private gradients, δ = 1e-5."""
    split, (steps, count), figures = _digits(ctx), ctx.pick(smoke=(2, 20), embedded=(40, 500)), []
    for epsilon in ctx.pick(smoke=(1.0,), embedded=(0.5, 1.0, 2.0, 4.0, 1e6)):
        accuracy = _similarity(split, count, epsilon, ctx.seed)
        figures.append({"method": SIMILARITY, "epsilon": epsilon, "accuracy": accuracy})
        accuracy = _trained(split, nn.Linear(64, 10), epsilon, ctx.seed, steps=steps, lr=8.0, form_rows=False)
        figures.append({"method": "linear", "epsilon": epsilon, "accuracy": accuracy})
    return figures


@paper.run(scale="smoke", minutes=0.022)
@paper.run(scale="embedded", seeds=2, minutes=1.5, alone=True)
@paper.run(scale="full", seeds=2, minutes=1.5, alone=True)
def private_network(ctx: Context) -> list[dict[str, Any]]:
    """A network of 64-128-10 trained with private gradients, and times: training and queries, by turns, at ε = 1."""
    split, (steps, count) = _digits(ctx), ctx.pick(smoke=(2, 20), embedded=(100, 500))

    def network(epsilon: float, *, form_rows: bool, steps: int = steps) -> float:
        torch.manual_seed(ctx.seed)
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        return _trained(split, model, epsilon, ctx.seed, steps=steps, lr=4.0, form_rows=form_rows)

    figures: list[dict[str, Any]] = [
        {"method": "network", "epsilon": epsilon, "accuracy": network(epsilon, form_rows=False)}
        for epsilon in ctx.pick(smoke=(1.0,), embedded=(1.0, 4.0))
    ]
    rivals = {ROWS: lambda: network(1.0, form_rows=True), LAYERS: lambda: network(1.0, form_rows=False)}
    ours = {
        SIMILARITY: lambda: _similarity(split, count, 1.0, ctx.seed),
        f"{SIMILARITY}, fast sampler": lambda: _similarity(split, count, 1.0, ctx.seed, "fast"),
    }
    network(1.0, form_rows=True, steps=1)  # first calls load code and do not count
    for call in ours.values():
        call()
    rounds, calls = ctx.pick(smoke=(1, 1), embedded=(2, 5))
    for _ in range(rounds):
        times = {name: processor_seconds(call) for name, call in rivals.items()}
        times |= {name: median(processor_seconds(call) for _ in range(calls)) for name, call in ours.items()}
        figures += [
            {"timed": name, "seconds": seconds, **{f"over {each}": seconds / times[each] for each in ours}}
            for name, seconds in times.items()
        ]
    return figures


@paper.run(scale="smoke", minutes=0.008)
@paper.run(scale="embedded", minutes=2.5, alone=True)
@paper.run(scale="full", minutes=2.5, alone=True)
def photographs(ctx: Context) -> list[dict[str, Any]]:
    """Small photographs by the features of a network trained on ImageNet: accuracy over the budget, and times."""
    try:
        return measure_photographs(ctx)
    except data.DataNotFound as error:
        return [{"missing": " ".join(str(error).split())}]


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", minutes=2.5)
@paper.run(scale="full", minutes=2.5)
def privacy(ctx: Context) -> list[dict[str, Any]]:
    """What one row changes, what an attacker can tell from many fitted estimators, and what a pickle holds."""
    rng = np.random.RandomState(ctx.seed)
    X = rng.normal(size=(30, 2))
    row: dict[str, Any] = {"moved": largest_move(ctx.pick(smoke=1, embedded=100), rng)}
    row["fits"] = ctx.pick(smoke=10, embedded=FITS)
    pure = [kind for kind, audited in AUDITED.items() if audited.estimator.delta == 0]
    for noise in (1.0, 0.5):
        # of 2,000 fits, half the noise escapes one time in four
        row[f"fits, noise {noise}"] = [audit_fits(row["fits"], kind, noise) for kind in pure]
    fitted = pickle.dumps(PrivateKernelDensity(epsilon=1.0).fit(X))
    row["rows_in_pickle"] = sum(value.tobytes() in fitted for value in X.ravel())
    return [row]


@paper.run(scale="smoke", minutes=0.004)
@paper.run(scale="embedded", minutes=2)
@paper.run(scale="full", minutes=2)
def audit(ctx: Context) -> list[dict[str, Any]]:
    """What an attacker can tell from 1e5 releases of each of two neighbouring tables, with all the noise and half."""
    repeats = ctx.pick(smoke=100, embedded=100_000)
    return [
        {"kind": kind, "noise": noise, "releases": repeats, "epsilon": audit_releases(repeats, kind, noise)}
        for kind in AUDITED
        for noise in (1.0, 0.5)
    ]


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """Distances, densities, projections, classes, and privacy itself."""
    _judge_distances(records.where(run="distances"), claim)
    _judge_densities(records, claim)
    _judge_classes(records, claim)
    judge_photographs(records.where(run="photographs"), claim, show)
    _judge_privacy(records, claim)
    _show(records, show)


def _judge_distances(runs: Records, claim: Ledger) -> None:
    source = "section on ℓ1 distances, at the size of one dimension and 100 queries"
    for rows in runs.distinct("rows"):
        measured = runs.mean("error", rows=rows, method="consistent")
        claim(
            f"error of the sum of distances to {rows} rows, consistent tree, ε = 1", measured, at_most=8, source=source
        )
    for alpha in (0.1, 0.5):
        factors = [1.0]
        for rows in runs.distinct("rows"):
            measured = runs.mean("error", rows=rows, method=f"geometric {alpha}")
            expected = GEOMETRIC.get((rows, alpha), measured)
            factors.append(max(measured / expected, expected / measured))
        claim(
            f"the paper's geometric query, α = {alpha}: factor to its expected error",
            max(factors),
            at_most=2,
            source=source,
        )
    claim("error of binning alone, no noise", runs.largest("error", method="binned"), at_most=0.02, source=source)


def _judge_densities(records: Records, claim: Ledger) -> None:
    source = "section on kernels; the prior work is Wagner, Naamad, Mishra, ICML 2023"
    runs = records.where(run="densities")
    prior = {epsilon: runs.mean("error", method="phases, Laplace", epsilon=epsilon) for epsilon in EPSILONS}
    draws = len(runs.values("error", method="phases, Laplace", epsilon=0.1))
    for epsilon in (0.5, 1.0):
        ratio = runs.mean("error", method="pairs, Laplace", epsilon=epsilon) / prior[epsilon]
        claim(f"error at ε = {epsilon}, over the prior work's", ratio, at_most=1.1, n=draws, source=source)
    ratio = runs.mean("error", method="pairs, Gaussian", epsilon=0.1) / prior[0.1]
    claim("error with Gaussian noise at ε = 0.1, over the prior work's", ratio, at_most=0.85, n=draws, source=source)
    largest = records.where(run="kernels").largest("error")
    claim("six kernels from features: largest error of the density", largest, at_most=0.005, source="table of kernels")
    projected = records.where(run="projections")
    kept = "128" if "128" in projected.distinct("kept") else projected.distinct("kept")[-1]
    source = "section on dimensionality reduction, 2 048 dimensions to 128"
    claim("queries after projection, times faster", projected.mean("faster", kept=kept), at_least=3, source=source)
    claim("error of the kernel by projection", projected.mean("error", kept=kept), at_most=0.02, source=source)


def _judge_classes(records: Records, claim: Ledger) -> None:
    runs, networks = records.where(run="digits"), records.where(run="private_network", epsilon=1.0)
    accuracy = 100 * runs.mean("accuracy", method="similarity", epsilon=1.0)
    source = "abstract and the section on classification, at the size of the digits"
    claim("accuracy at ε = 1, δ = 1e-5, %", accuracy, at_least=89, source=source)
    above = accuracy - 100 * networks.mean("accuracy")
    claim("above a network trained with private gradients at ε = 1, points", above, at_least=0, source=source)
    times = records.where(run="private_network", timed=ROWS)
    for ours, said in ((SIMILARITY, ""), (f"{SIMILARITY}, fast sampler", ", with the fast sampler of noise")):
        statement = f"times faster than that network with a gradient for each row, training and queries{said}"
        ratios = times.values(f"over {ours}")
        claim(statement, median(ratios), at_least=50, n=len(ratios), source=source)
    ratios = records.where(run="private_network", timed=LAYERS).values(f"over {SIMILARITY}")
    claim(
        "times faster than that network where clipping forms no row's gradient",
        median(ratios),
        at_least=50,
        n=len(ratios),
        source=source,
    )


def _judge_privacy(records: Records, claim: Ledger) -> None:
    known = {(1.0, 1e-3): 2.57465702, (1.0, 1e-5): 3.73063163, (1.0, 1e-8): 5.10030879}
    apart = max(abs(gaussian_sigma(*budget) / sigma - 1) for budget, sigma in known.items())
    claim("σ of the Gaussian mechanism against the known table", apart, at_most=1e-7, source="Balle and Wang 2018")
    source, runs = "definition of differential privacy", records.where(run="privacy")
    claim("largest change by one row, over the sensitivity", runs.largest("moved"), at_most=1 + 1e-9, source=source)
    proved = [[epsilon for each in runs.values(f"fits, noise {noise}") for epsilon in each] for noise in (1.0, 0.5)]
    fits = runs.distinct("fits")[0]
    statement = f"ε that an attacker proves from {fits} fits at ε = 1, most of trees and classes"
    claim(statement, max(proved[0]), at_most=1, n=fits, source=source)
    statement = "the same with half the noise, to be caught, least of trees and classes"
    claim(statement, min(proved[1]), at_least=1, n=fits, source=source)
    for kind in AUDITED:
        runs = records.where(run="audit", kind=kind)
        whole, half = runs.largest("epsilon", noise=1.0), runs.smallest("epsilon", noise=0.5)
        releases = runs.distinct("releases")[0]
        claim(f"ε proved by {releases} releases at ε = 1, {kind}", whole, at_most=1, n=releases, source=source)
        claim(f"the same of {kind} with half the noise, to be caught", half, at_least=1, n=releases, source=source)
    runs = records.where(run="privacy")
    claim("numbers of the rows found in a pickle", sum(runs.values("rows_in_pickle")), equals=0, source=source)


def _show(records: Records, show: Show) -> None:
    runs = records.where(run="distances")
    methods = runs.distinct("method")
    rows = [
        [n, g.mean("mean"), *(g.mean("error", method=m) for m in methods)] for (n,), g in runs.groups("rows").items()
    ]
    show.table(["rows", "mean sum", *methods], rows, caption="Mean absolute error of Σ|x − y| at ε = 1, one dimension")
    runs = records.where(run="densities")
    rows = [[m, *(g.mean("error", epsilon=e) for e in EPSILONS)] for (m,), g in runs.groups("method").items()]
    show.table(
        ["400 numbers", *(f"ε = {e}" for e in EPSILONS)],
        rows,
        caption="Mean absolute error of a density",
    )
    rows = [[r["kept"], r["error"], r["faster"]] for r in records.where(run="projections")]
    show.table(["dimensions kept", "error of the kernel", "times faster"], rows, caption="Projection before features")
    classes = Records([*records.where(run="digits"), *records.where(run="private_network")])
    rows = [
        [method, "∞" if epsilon > 1e3 else epsilon, 100 * g.mean("accuracy")]
        for (method, epsilon), g in classes.groups("method", "epsilon").items()
    ]
    show.table(["method", "ε", "accuracy, %"], rows, caption="Digits, δ = 1e-5")
    timed = classes.groups("timed").items()
    rows = [[name, median(g.values("seconds")), median(g.values(f"over {SIMILARITY}"))] for (name,), g in timed]
    caption = "Digits: training and queries at ε = 1, processor time of one thread, by turns"
    show.table(["method", "seconds", "times the similarity's"], rows, caption=caption)

    def draw(axes: Any) -> None:
        for (method,), group in classes.groups("method").items():
            points = {e: 100 * g.mean("accuracy") for (e,), g in group.groups("epsilon").items() if e < 1e3}
            axes.plot(list(points), list(points.values()), "o-", label=method)
        axes.set_xscale("log")
        axes.set_xlabel("ε")
        axes.set_ylabel("test accuracy, %")
        axes.legend()

    show.figure(
        draw, caption="Accuracy on the digits over the budget, δ = 1e-5", alt="test accuracy of each method over ε"
    )


@paper.invariance(tolerance=0.0)
def order_of_rows(generator: torch.Generator) -> tuple[Float[Tensor, "7"], Float[Tensor, "7"]]:
    """What is released does not depend on the order of the rows, nor on what else stands beside a row, to the bit."""
    X = torch.randn(50, 3, generator=generator, dtype=torch.float64).numpy()
    order = torch.randperm(50, generator=generator).numpy()

    def answers(rows: Any) -> Tensor:
        fitted = PrivateKernelDensity(epsilon=1.0, n_features=33, random_state=0, insecure_seed=0).fit(rows)
        return torch.as_tensor(fitted.sum(X[:7]))

    return answers(X[order]), answers(X)
