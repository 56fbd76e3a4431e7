"""Risk of the three limits, of the Hilbert estimate and of 15 nearest neighbours, where Bayes' risk is 0.2."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy import ndarray
from sklearn.neighbors import KNeighborsClassifier

from normkit.estimators import InfiniteNetClassifier
from normkit.papers import Context, Ledger, Records, Show

__all__ = ["judge_risk", "noisy_sphere", "optimality"]

_DIMENSIONS = (1, 2, 4)


def noisy_sphere(draw: np.random.Generator, n: int, d: int) -> tuple[ndarray, ndarray]:
    """Points |N(0, I)| on the sphere and P(y = 1) there, 0.8 or 0.2; at d = 1 the last two terms cancel."""
    x = np.abs(draw.normal(size=(n, d + 1)))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    score = np.sin(6 * np.arccos(x[:, 0])) + x[:, 1] - x[:, d]
    return x, np.where(score > 0, 0.8, 0.2)


def optimality(ctx: Context) -> list[dict[str, Any]]:
    """Risk, from the known P, by dimension, number of points and classifier."""
    draw, found = np.random.default_rng(ctx.seed), []
    for d in _DIMENSIONS:
        queries, truth = noisy_sphere(draw, ctx.pick(smoke=100, embedded=1500), d)
        for n in ctx.pick(smoke=(50, 100), embedded=(250, 1000, 4000, 16000)):
            x, p = noisy_sphere(draw, n, d)
            y = (draw.random(n) < p).astype(int)
            for name, model in _classifiers(n, d).items():
                said = model.fit(x, y).predict(queries)
                risk = float(np.where(said == 1, 1 - truth, truth).mean())
                found.append({"d": d, "n": n, "classifier": name, "risk": risk})
    return found


def _classifiers(n: int, d: int) -> dict[str, Any]:
    activations = {"singular kernel": "optimal", "1-NN": [0.0, 0.0, 1.0], "majority": "relu"}
    models: dict[str, Any] = {name: InfiniteNetClassifier(a, preprocess=False) for name, a in activations.items()}
    # All points are neighbours, so their order costs more than it is worth: "brute" spares the tree.
    models["Hilbert"] = KNeighborsClassifier(n, weights=partial(_inverse_power, d=d), algorithm="brute")
    models["15-NN"] = KNeighborsClassifier(15)
    return models


def _inverse_power(distance: ndarray, d: int) -> ndarray:
    with np.errstate(divide="ignore"):  # a distance of 0, as the products have it, outweighs all others
        weights: ndarray = distance ** -float(d)
    return weights


def judge_risk(records: Records, claim: Ledger, show: Show) -> None:
    """The risk falls to Bayes' 0.2 for the singular kernel alone of the three; a kNN that is tuned is better."""
    runs, source = records.where(run="optimality"), "abstract (consistency), at the size of 16,000 points"
    counts = sorted(runs.distinct("n"))
    for d, bound in ((1, 0.23), (2, 0.24)):
        risks = [runs.mean("risk", d=d, n=n, classifier="singular kernel") for n in counts]
        claim(f"d = {d}: risk of the singular kernel at the most points", risks[-1], at_most=bound, source=source)
        falls = all(a > b for a, b in pairwise(risks))
        claim(f"d = {d}: its risk falls with every larger number of points", falls, equals=True, source=source)
    means = {key: group.mean("risk") for key, group in runs.groups("d", "n", "classifier").items()}
    lowest = min(risk for (_, _, name), risk in means.items() if name == "1-NN")
    claim("lowest risk of the nearest neighbour", lowest, at_least=0.3, source="limit 2 · 0.2 · 0.8 = 0.32")
    cells = [(d, n) for d in _DIMENSIONS for n in counts]
    apart = max(abs(means[*cell, "singular kernel"] - means[*cell, "Hilbert"]) for cell in cells if cell[0] == 1)
    claim(
        "d = 1: risk of the singular kernel and of the Hilbert estimate ‖x − x′‖^(−d), largest difference",
        apart,
        at_most=0.001,
        source="the same singularity",
    )
    better = sum(means[*cell, "15-NN"] < means[*cell, "singular kernel"] for cell in cells)
    claim(
        f"of {len(cells)} dimensions and numbers of points: where 15 nearest neighbours have the lower risk",
        better,
        equals=len(cells),
        source="a limit: the convergence is logarithmic in n; nothing was tuned for the singular kernel",
    )
    names = runs.distinct("classifier")
    rows = [[*cell, *(means[*cell, name] for name in names)] for cell in cells]
    show.table(["d", "points", *names], rows, caption="Risk, mean over the seeds; Bayes' is 0.2")

    def draw(axes: Any) -> None:
        for name in names:
            axes.plot(counts, [means[2, n, name] for n in counts], "o-", label=name)
        axes.set(xscale="log", xlabel="points", ylabel="risk, d = 2")
        axes.legend()

    show.figure(draw, caption="Risk by number of points", alt="Of the three limits, the singular kernel's risk falls")
