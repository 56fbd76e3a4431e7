"""Compositions drawn at random whose dependences are known: the basis is log-normal, and only shares of it are seen."""

import numpy as np
from jaxtyping import Float

__all__ = ["dominated_compositions", "network_compositions", "paired_compositions"]


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


def paired_compositions(
    samples: int, parts: int, *, factors: int = 20, seed: int = 0
) -> Float[np.ndarray, "samples parts"]:
    """Closed log-normal amounts of many parts that share factors, and two by two something of their own.

    The log amounts are Σ_f s_f l_fk/4 + e_k with scores s, loadings l and residuals e that are N(0, 1). The residuals
    of parts 2k and 2k + 1 have correlation 0.8, all others none: given the factors, only these pairs are joined.

    Args:
        samples: N.
        parts: D; of an odd number the last part has no partner.
        factors: how many are shared by all.
        seed: of everything that is drawn.

    Returns:
        (N, D) proportions, rows of sum 1.
    """
    draw = np.random.default_rng(seed)
    logs = draw.normal(size=(samples, factors)) @ draw.normal(size=(factors, parts)) / 4
    own = draw.normal(size=(samples, parts))
    second = own[:, 1::2]
    second *= 0.6
    second += 0.8 * own[:, 0::2][:, : second.shape[1]]
    return _closed(logs + own)


def _closed(logs: np.ndarray) -> np.ndarray:
    amounts = np.exp(logs)
    return amounts / amounts.sum(1, keepdims=True)
