"""From Logistic Regression to the Perceptron Algorithm (Tyurin 2025)."""

from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import gmean
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Perceptron
from torch import Tensor

from normkit import data
from normkit.estimators import NormalizedLogisticRegression, iterates, iteration_bound, logistic_step, margin
from normkit.papers import Context, Ledger, Paper, Records, Show
from normkit.papers._normalized_lr_cost import judge_step_cost, step_cost

__all__ = ["paper"]

paper = Paper(
    slug="normalized-lr",
    title="From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent with Large Step Sizes",
    authors=("Alexander Tyurin",),
    year=2025,
    arxiv="2412.08424",
    nuisance="the samples that are right already",
    pathology="On separable data gradient descent on the logistic loss divides the few samples that are wrong by all.",
    remedy="Divide the gradient by the mean sigmoid weight: a weighted average of what is wrong, however little it is.",
    provides=(
        "normkit.estimators.NormalizedLogisticRegression",
        "normkit.estimators.logistic_step",
        "normkit.estimators.iterates",
        "normkit.estimators.iteration_bound",
        "normkit.estimators.margin",
        "normkit.estimators.separability_report",
        "normkit.losses.NormalizedLogisticLoss",
        "normkit.data.worst_case_dataset",
    ),
)

GAMMAS = (0.1, 1.0, 10.0, 100.0)
# Table 1: method, γ, and the paper's count; the perceptrons' are those of the equations.
TABLE = {
    ("normalized", 100.0): 2,
    ("normalized", 10.0): 2,
    ("normalized", 1.0): 16,
    ("normalized", 0.1): 157,
    ("plain", 100.0): 308,
    ("plain", 10.0): 729,
    ("batch_perceptron", 1.0): 301,
    ("normalized_batch_perceptron", 1.0): 2,
}
MNIST = {"0 v 1, 2500 and 2500": (0, 1, 2500, 2500), "0 v 1, 4950 and 50": (0, 1, 4950, 50), "3 v 8": (3, 8, 2500, 25)}


def _fit(X: ndarray, y: ndarray, method: str, step_size: float, max_iter: int, record: bool = False) -> Any:
    found = NormalizedLogisticRegression(
        step_size, method, fit_intercept=False, max_iter=max_iter, keep_best=False, record=record
    )
    return found.fit(X, y)


def _steps(X: ndarray, y: ndarray, method: str, step_size: float, max_iter: int = 100_000) -> int:
    return int(_fit(X, y, method, step_size, max_iter).n_iter_)


def _with_ones(X: ndarray) -> ndarray:
    return np.column_stack([X, np.ones(len(X))])


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", minutes=0.3)
@paper.run(scale="full", minutes=0.3)
def worst_case(ctx: Context) -> list[dict[str, Any]]:
    """Table 1, and how the counts grow with n."""
    n = ctx.pick(smoke=50, embedded=1000)
    records: list[dict[str, Any]] = [
        {"n": n, "method": method, "gamma": gamma, "steps": _steps(*data.worst_case_dataset(n), method, gamma)}
        for method, gamma in TABLE
    ]
    for size in ctx.pick(smoke=(20, 40), embedded=(100, 500, 1000, 5000)):
        steps = [_steps(*data.worst_case_dataset(size), method, 100.0) for method in ("normalized", "plain")]
        records.append({"size": size, "normalized": steps[0], "plain": steps[1]})
    return records


def _pair(low: int, high: int, kept: int | None) -> tuple[ndarray, ndarray]:
    """Two digits, the lower one class −1; of the higher one the first `kept` samples."""
    X, y = load_digits(return_X_y=True)
    chosen = np.flatnonzero(y == high)[:kept]
    index = np.sort(np.append(np.flatnonzero(y == low), chosen))
    return _with_ones(X[index] / 16), np.where(y[index] == high, 1, -1)


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", minutes=2)
@paper.run(scale="full", minutes=2)
def digits(ctx: Context) -> list[dict[str, Any]]:
    """Steps on every pair of digits with the best of four step sizes, all samples and few of one class."""
    records = []
    pairs = [(low, high) for low in range(10) for high in range(low + 1, 10)]
    for low, high in pairs[: ctx.pick(smoke=1, embedded=45)]:
        for kept in (None, 10, 3):
            X, y = _pair(low, high, kept)
            best = {method: min(_steps(X, y, method, g) for g in GAMMAS) for method in ("plain", "normalized")}
            records.append({"pair": f"{low}{high}", "kept": kept or 0, **best})
    return records


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", minutes=0.3)
@paper.run(scale="full", minutes=0.3)
def peers(ctx: Context) -> list[dict[str, Any]]:
    """What scikit-learn's classifiers need on the same pairs: epochs of Perceptron, and whether all comes out right."""
    records = []
    pairs = [(low, high) for low in range(10) for high in range(low + 1, 10)]
    for low, high in pairs[: ctx.pick(smoke=1, embedded=45)]:
        X, y = _pair(low, high, None)
        epochs = next((e for e in range(1, 60) if _perceptron(X, y, e)), None)
        strict = LogisticRegression(C=1e6, fit_intercept=False, max_iter=10_000).fit(X, y).score(X, y)
        records.append({"pair": f"{low}{high}", "epochs": epochs, "logistic_regression": strict})
    return records


def _perceptron(X: ndarray, y: ndarray, epochs: int) -> bool:
    return bool(Perceptron(max_iter=epochs, tol=None, fit_intercept=False).fit(X, y).score(X, y) == 1)


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", minutes=1)
@paper.run(scale="full", minutes=1)
def mnist(ctx: Context) -> list[dict[str, Any]]:
    """Steps on pairs of MNIST's digits, balanced and not."""
    if ctx.scale == "smoke":
        return []
    try:
        found = data.load("mnist")
    except data.DataNotFound as error:
        return [{"missing": " ".join(str(error).split())}]
    X, y = found.part("train")
    assert y is not None
    records = []
    for name, (low, high, of_low, of_high) in MNIST.items():
        index = np.sort(np.append(np.flatnonzero(y == low)[:of_low], np.flatnonzero(y == high)[:of_high]))
        rows, labels = _with_ones(X[index].reshape(len(index), -1) / 255), np.where(y[index] == high, 1, -1)
        steps = {m: _steps(rows, labels, m, g, 2500) for m, g in (("plain", 100.0), ("normalized", 10.0))}
        records.append({"pair": name, **steps})
    return records


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", minutes=0.5)
@paper.run(scale="full", minutes=0.5)
def progress(ctx: Context) -> list[dict[str, Any]]:
    """Plain descent on 3 against 8 with small and large steps: loss and accuracy on the way."""
    X, y = _pair(3, 8, None)
    records = []
    for gamma in ctx.pick(smoke=(10.0,), embedded=(0.01, 0.1, 1.0, 10.0, 100.0)):
        found = _fit(X, y, "plain", gamma, 100_000, record=True)
        loss, accuracy = (found.history_[name][:, 0] for name in ("loss", "accuracy"))
        records.append(
            {
                "gamma": gamma,
                "steps": found.n_iter_,
                "largest_loss": float(loss.max()),
                "rises": int((np.diff(loss) > 0).sum()),
                "loss": loss[:300].tolist(),
                "accuracy": accuracy[:300].tolist(),
            }
        )
    return records


@paper.run(scale="smoke", minutes=0.005)
@paper.run(scale="embedded", minutes=0.3)
@paper.run(scale="full", minutes=0.3)
def theory(ctx: Context) -> list[dict[str, Any]]:
    """Random separable sets: θ_t/γ for γ = 10⁸ beside the perceptrons, and the steps beside the bound."""
    records = []
    for index in range(ctx.pick(smoke=2, embedded=40)):
        draw = np.random.default_rng([ctx.seed, index])
        A, theta = draw.normal(size=(30, 4)), draw.normal(size=4)
        y = np.sign(A @ theta)
        Z = y[:, None] * A
        gaps = {
            name: _gap(Z, method, limit)
            for name, (method, limit) in {
                "plain": ("plain", "batch_perceptron"),
                "normalized": ("normalized", "normalized_batch_perceptron"),
            }.items()
        }
        mu, radius = margin(Z), float(np.linalg.norm(A, axis=1).max())
        shares = [_steps(A, y, "normalized", g) / iteration_bound(radius, mu, len(A), g) for g in GAMMAS]
        records.append({"set": index, **gaps, "share_of_bound": max(shares)})
    return records


def _gap(Z: ndarray, method: str, limit: str) -> float:
    """The largest distance of θ_t/γ from the perceptron's iterates until these end, or of the first thirty."""
    gamma, largest = 1e8, 0.0
    pairs = zip(iterates(Z, method=method, step_size=gamma), iterates(Z, method=limit), strict=False)
    for theta, wanted in islice(pairs, 31):
        largest = max(largest, float(np.abs(theta / gamma - wanted).max()))
        if (Z @ wanted > 0).all():
            break
    return largest


paper.run(scale="smoke", minutes=0.005, alone=True)(step_cost)
paper.run(scale="embedded", minutes=0.5, alone=True)(step_cost)
paper.run(scale="full", minutes=5, alone=True)(step_cost)


@paper.judge
def judge(records: Records, claim: Ledger, show: Show) -> None:
    """The counts of table 1, the pairs of digits, and where the theory holds exactly."""
    _judge_worst_case(records.where(run="worst_case"), claim, show)
    _judge_digits(records.where(run="digits"), records.where(run="peers"), claim, show)
    _judge_mnist(records.where(run="mnist"), claim, show)
    _judge_progress(records.where(run="progress"), claim, show)
    judge_step_cost(records.where(run="step_cost"), claim, show)
    exact = records.where(run="theory")
    for name in ("plain", "normalized"):
        statement = f"{name} descent with γ = 10⁸ over γ: largest distance from its perceptron"
        claim(statement, exact.largest(name), at_most=1e-9, source="theorems 3.1 and 6.2")
    share = exact.largest("share_of_bound")
    claim("steps of normalised descent over the bound, largest", share, at_most=1, source="theorem 6.1")
    claim(
        "FashionMNIST, 5000 samples of two classes: plain descent's steps over the normalised one's",
        None,
        at_least=1,
        source="table 1 (538 against 349, imbalanced)",
        reason="which classes were taken is not known; here MNIST and the digits stand for it",
    )


def _judge_worst_case(records: Records, claim: Ledger, show: Show) -> None:
    counts = {(r["method"], r["gamma"]): r["steps"] for r in records if "method" in r}
    for key, wanted in TABLE.items():
        name = f"worst case, n = 1000: steps of {key[0].replace('_', ' ')}"
        name += f", γ = {key[1]:g}" if key[0] in ("normalized", "plain") else ""
        source = "table 1" if key[0] == "normalized" or key[1] == 100.0 else "this project's own count"
        claim(name, counts[key], equals=wanted, n=1, source=source)
    sizes = [[r["size"], r["plain"], r["normalized"]] for r in records if "size" in r]
    show.table(["n", "plain, γ = 100", "normalised, γ = 100"], sizes, caption="Steps in the worst case")
    growth = np.polyfit(np.log([row[0] for row in sizes]), np.log([row[1] for row in sizes]), 1)[0]
    claim(
        "worst case: exponent of plain descent's steps in n", float(growth), between=(0.95, 1.05), source="theorem 5.1"
    )
    most = max(row[2] for row in sizes)
    claim("worst case: steps of normalised descent at any n", most, at_most=2, source="theorem 6.1")


def _judge_digits(records: Records, peers: Records, claim: Ledger, show: Show) -> None:
    source = "section 7 (pairs of classes), at the size of the digits"
    few = records.where(kept=3)
    plain, normalized = (np.array(few.values(name)) for name in ("plain", "normalized"))
    better = int((normalized < plain).sum())
    claim(
        "three samples of one digit: pairs of 45 on which normalised descent is faster",
        better,
        at_least=43,
        source=source,
    )
    ratio = float(gmean(plain / normalized))
    claim("the same: steps of plain over normalised descent, geometric mean", ratio, at_least=4, source=source)
    rows = [
        ["all" if kept == 0 else kept, group.mean("plain"), group.mean("normalized")]
        for (kept,), group in records.groups("kept").items()
    ]
    show.table(
        ["samples of the higher digit", "plain", "normalised"], rows, caption="Mean steps, best of four step sizes"
    )
    epochs = [r["epochs"] for r in peers if r["epochs"] is not None]
    right = sum(r["logistic_regression"] == 1 for r in peers)
    rows = [
        ["Perceptron", f"{np.mean(epochs):.1f} epochs" if epochs else "–"],
        ["LogisticRegression(C=1e6)", f"{right} of {len(list(peers))} pairs separated"],
    ]
    show.table(["scikit-learn", "needs"], rows, caption="Peers on the balanced pairs")


def _judge_mnist(records: Records, claim: Ledger, show: Show) -> None:
    missing = next((r["missing"] for r in records if "missing" in r), None)
    ratios = {r["pair"]: r["plain"] / r["normalized"] for r in records if "pair" in r}
    source = "section 7, MNIST"
    name = "0 v 1, 4950 and 50"
    statement = f"MNIST {name}: steps of plain over normalised descent"
    claim(statement, ratios.get(name), at_least=10, source=source, reason=missing)
    rows = [[r["pair"], r["plain"], r["normalized"]] for r in records if "pair" in r]
    if rows:
        show.table(["MNIST", "plain, γ = 100", "normalised, γ = 10"], rows, caption="Steps until every sample is right")


def _judge_progress(records: Records, claim: Ledger, show: Show) -> None:
    found = list(records)
    fastest, slowest = (chosen(found, key=lambda row: row["steps"]) for chosen in (min, max))
    claim(
        "3 against 8, plain descent: largest loss of the fastest step size over that of the slowest",
        fastest["largest_loss"] / slowest["largest_loss"],
        at_least=100,
        source="figures 1, 4 and 5: the fastest has the highest loss",
    )
    rows = [[r["gamma"], r["steps"], r["largest_loss"], r["rises"]] for r in found]
    show.table(["γ", "steps", "largest loss", "times the loss rose"], rows, caption="3 against 8, plain descent")

    def draw(axes: Any) -> None:
        for r in found[-3:]:
            (line,) = axes.plot(np.array(r["loss"]) + 1e-6, label=f"loss, γ = {r['gamma']:g}")
            axes.plot(1 - np.array(r["accuracy"]) + 1e-6, ":", color=line.get_color(), label="share wrong")
        axes.set(xlabel="step", yscale="log", ylim=(1e-4, None))
        axes.legend(fontsize="small")

    show.figure(
        draw, caption="Loss and share of wrong samples", alt="The largest steps have the highest loss and end first"
    )


@paper.invariance(tolerance=1e-12)
def samples_that_are_right(generator: torch.Generator) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """A step of normalised descent does not see samples far on the right side, however many."""
    theta = torch.randn(3, generator=generator, dtype=torch.float64).numpy()
    Z = torch.randn(8, 3, generator=generator, dtype=torch.float64).numpy()
    right = np.tile(1e4 * theta / (theta @ theta), (500, 1))
    with_them = logistic_step(np.vstack([Z, right]), theta, 10.0)
    return torch.from_numpy(with_them), torch.from_numpy(logistic_step(Z, theta, 10.0))
