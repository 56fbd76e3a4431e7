"""Finite depth beside the limit it tends to: all four kinds of activation, and the slow one, the NTK's singular kernel.

The slow one: near the diagonal k^L/c^L ≈ C δ^(−1−α/2) + L ψ(ξ), with all layers trained. While L ≪ 1/δ the first term
rules, and the network acts with exponent α + 2, almost as the nearest neighbour does.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from normkit.estimators import InfiniteNetClassifier, log_singular_kernel, ntk, taxonomy
from normkit.nn import optimal_activation
from normkit.papers import Context, Ledger, Records, Show
from normkit.papers._wide_deep_risk import noisy_sphere

__all__ = ["NETWORKS", "judge_limits", "judge_transient", "limits", "transient"]

_MIXED = np.sqrt([0.2, 0.3, 0.5])

_SLOW = "optimal, all layers"
"""Shown and not judged: see `transient`."""

NETWORKS: dict[str, tuple[Any, str, tuple[int, ...]]] = {
    "optimal, last layer": (optimal_activation(2), "nngp", (3, 5, 10, 20)),
    _SLOW: (optimal_activation(2), "ntk", (10, 100, 1000)),
    "he_2, all layers": ([0.0, 0.0, 1.0], "ntk", (3, 5, 10)),
    "√.2 + √.3 he_1 + √.5 he_2, all layers": (_MIXED, "ntk", (20, 50, 100)),
    "ReLU, all layers": ("relu", "ntk", (50, 100, 200, 1000)),
}
"""Activation, kernel and depths by name."""

_ITERATED = 100
"""Layers after which every further one adds ψ to k^L/c^L, to all digits, for points of at least 1e-14 between them."""


def limits(ctx: Context) -> list[dict[str, Any]]:
    """Agreement with the limit by depth: 12 points on the sphere of dimension 2, 7 of one class and 5 of the other."""
    draw = np.random.default_rng(ctx.seed)
    x = _apart(draw, np.empty((0, 3)), 12, 0.03, among=True)
    queries = _apart(draw, x, ctx.pick(smoke=20, embedded=157), 0.005, among=False)
    y = np.append(np.resize([1, 0], 10), [1, 1])
    found = []
    for name, (activation, kernel, depths) in NETWORKS.items():
        limit = InfiniteNetClassifier(activation, preprocess=False).fit(x, y).predict(queries)
        for depth in ctx.pick(smoke=depths[:1], embedded=depths):
            deep = InfiniteNetClassifier(activation, depth, kernel, preprocess=False).fit(x, y).predict(queries)
            agreement = float((deep == limit).mean())
            kind = taxonomy(activation).limit
            found.append({"network": name, "limit": kind, "depth": depth, "agreement": agreement})
    return found


def _apart(draw: np.random.Generator, x: ndarray, n: int, least: float, among: bool) -> ndarray:
    """n points of the sphere with δ ≥ least to all of x and, where asked, to each other."""
    kept: list[ndarray] = []
    while len(kept) < n:
        point = np.abs(draw.normal(size=3))
        point /= np.linalg.norm(point)
        others = np.array([*x, *(kept if among else [])]).reshape(-1, 3)
        if not len(others) or np.square(others - point).sum(1).min() / 2 >= least:
            kept.append(point)
    return np.array(kept)


def transient(ctx: Context) -> list[dict[str, Any]]:
    """Agreement of sign Σ k^L y with sign Σ ψ y and with the nearest neighbour, on the noisy data of d = 1."""
    draw = np.random.default_rng(ctx.seed)
    n = ctx.pick(smoke=30, embedded=300)
    x, p = noisy_sphere(draw, n, 1)
    queries, _ = noisy_sphere(draw, ctx.pick(smoke=30, embedded=1500), 1)
    y = np.where(draw.random(n) < p, 1.0, -1.0)
    a = optimal_activation(1).coefficients
    scaled, psi = _two_kernels(queries, x)
    nearest, limit = y[np.argmax(queries @ x.T, 1)], np.sign(psi @ y)
    found = [{"layers": None, "exponent": _exponent(a)}]
    for layers in (10, _ITERATED, 10**4, 10**6):
        if layers <= _ITERATED:
            kernel = ntk(queries, x, a, layers)
        else:
            kernel = scaled + (layers - _ITERATED) * psi
        said = np.sign(kernel @ y)
        agreements = {"limit": float((said == limit).mean()), "nearest": float((said == nearest).mean())}
        found.append({"layers": layers, **agreements})
    return found


def _two_kernels(queries: ndarray, x: ndarray) -> tuple[ndarray, ndarray]:
    """k^L/c^L after the layers that are iterated, and ψ."""
    a = optimal_activation(1).coefficients
    delta = np.square(queries[:, None] - x).sum(2) / 2
    return ntk(queries, x, a, _ITERATED) / a[1] ** (2 * _ITERATED), np.exp(log_singular_kernel(delta, a))


def _exponent(a: Any) -> float:
    """Slope of −log k^L over log ‖x − x′‖ from 1e-5 to 1e-3, after the layers that are iterated."""
    angles = np.geomspace(1e-5, 1e-3, 200)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    kernel = ntk(circle, np.array([[1.0, 0.0]]), a, _ITERATED)[:, 0]
    return -float(np.polyfit(np.log(angles), np.log(kernel), 1)[0])


def judge_limits(records: Records, claim: Ledger, show: Show) -> None:
    """At the depths named, all but one answer in a hundred are the limit's."""
    runs = records.where(run="limits")
    for name in (name for name in NETWORKS if name != _SLOW):
        found = runs.where(network=name)
        depth = max(found.distinct("depth"))
        claim(
            f"{name}, {depth} layers: share of the answers that are the limit's ({found[0]['limit']})",
            found.mean("agreement", depth=depth),
            at_least=0.99,
            n=runs.seeds,
            source="the taxonomy's theorems, 12 points on the sphere of dimension 2",
        )
    rows = [[*key, g.mean("agreement")] for key, g in runs.groups("network", "limit", "depth").items()]
    show.table(["network", "limit", "layers", "agreement"], rows, caption="Answers as the limit's, mean over the seeds")


def judge_transient(records: Records, claim: Ledger, show: Show) -> None:
    """A hundred trained layers answer as the nearest neighbour; it takes a million to answer as ψ."""
    runs, source = records.where(run="transient"), "this project's finding, d = 1, 300 points, the data of the risks"
    few, many = (runs.where(layers=layers) for layers in (_ITERATED, 10**6))
    claim(
        "NTK of 100 layers: exponent of the singularity, α + 2 in place of α = 1",
        runs.mean("exponent"),
        between=(2.9, 3.1),
        source=source,
    )
    for runs_of_depth, name, first, second in (
        (few, "100", "nearest", "limit"),
        (many, "10⁶", "limit", "nearest"),
    ):
        words = {"nearest": "the nearest neighbour's", "limit": "the limit's"}
        claim(
            f"NTK of {name} layers: share of answers that are {words[first]} less those that are {words[second]}",
            runs_of_depth.mean(first) - runs_of_depth.mean(second),
            at_least=0.0,
            source=source,
        )
    rows = [[key[0], g.mean("limit"), g.mean("nearest")] for key, g in runs.groups("layers").items() if key[0]]
    headers = ["layers", "as the singular kernel", "as the nearest neighbour"]
    show.table(headers, rows, caption="All layers trained, d = 1: share of the answers that agree")
