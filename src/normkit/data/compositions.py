"""Compositions drawn at random whose dependences are known: the basis is log-normal, and only shares of it are seen."""

import numpy as np
from jaxtyping import Float

__all__ = ["dominated_compositions", "network_compositions"]


def network_compositions(
    samples: int, parts: int = 40, *, edges: float = 0.06, seed: int = 0
) -> tuple[Float[np.ndarray, "samples parts"], Float[np.ndarray, "parts parts"]]:
    """Closed log-normal amounts with a sparse precision matrix: (proportions, precision of their logarithms).

    Two parts are joined with probability `edges`, by a weight of magnitude U(0.4, 1) and random sign; the diagonal is
    |λ_min| + 0.15, the covariance is scaled to standard deviations of 0.8, and the means of the logarithms are
    N(0, 1.5²).

    Args:
        samples: N.
        parts: D.
        edges: probability that two parts depend on each other given all others.
        seed: of everything that is drawn.

    Returns:
        (N, D) proportions, rows of sum 1; (D, D) precision of the log amounts, zero where two parts are not joined.
    """
    draw = np.random.default_rng(seed)
    weights = draw.uniform(0.4, 1.0, (parts, parts)) * draw.choice([-1.0, 1.0], (parts, parts))
    upper = np.triu(weights * (draw.random((parts, parts)) < edges), 1)
    precision = upper + upper.T
    precision += np.eye(parts) * (abs(np.linalg.eigvalsh(precision)[0]) + 0.15)
    scale = np.sqrt(np.diag(np.linalg.inv(precision))) / 0.8
    precision *= np.outer(scale, scale)
    basis = draw.normal(0, 1.5, parts) + draw.multivariate_normal(
        np.zeros(parts), np.linalg.inv(precision), samples, method="cholesky"
    )
    return _closed(basis), precision


def dominated_compositions(samples: int, parts: int = 8, *, seed: int = 0) -> Float[np.ndarray, "samples parts"]:
    """Closed log-normal amounts that are independent, the first large and restless: it moves all other shares.

    Args:
        samples: N.
        parts: D; log amounts have standard deviation 2 and mean 4 in the first part, 0.4 and 0 in the others.
        seed: of everything that is drawn.

    Returns:
        (N, D) proportions, rows of sum 1.
    """
    draw = np.random.default_rng(seed)
    spread, mean = np.full(parts, 0.4), np.zeros(parts)
    spread[0], mean[0] = 2.0, 4.0
    return _closed(mean + spread * draw.normal(size=(samples, parts)))


def _closed(logs: np.ndarray) -> np.ndarray:
    amounts = np.exp(logs)
    return amounts / amounts.sum(1, keepdims=True)
