"""Error of a sum of distances over the number of queries, with noise for each answer and from one release."""

from typing import Any

import numpy as np

from normkit.estimators import PrivateDistance
from normkit.estimators.private.exact import exact_distance_sums
from normkit.report import COLORS, new_figure


def draw() -> Any:
    """The picture. The rows are drawn here, so that noise from a seed gives nothing away."""
    rng = np.random.default_rng(0)
    X, queries = rng.beta(2, 5, (10_000, 1)), [2**k for k in range(0, 15, 2)]
    Y = rng.uniform(0, 1, (max(queries), 1))
    exact = exact_distance_sums(X, Y)
    trees = [PrivateDistance(bounds=(0, 1), epsilon=1.0, depth=14, insecure_seed=seed).fit(X) for seed in range(20)]
    released = np.mean([np.abs(tree.sum_distances(Y) - exact) for tree in trees], axis=0)
    fresh = [np.abs(rng.laplace(0, count, (20, count))).mean() for count in queries]
    figure, axes = new_figure()
    axes.plot(queries, fresh, "o-", color=COLORS["before"], label="noise for each answer")
    once = [released[:count].mean() for count in queries]
    axes.plot(queries, once, "o-", color=COLORS["after"], label="one released tree")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("queries, ε = 1 for all together")
    axes.set_ylabel("mean error of a sum of distances")
    axes.legend(loc="upper left")
    return figure
