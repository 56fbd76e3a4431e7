"""Separable classes on which a mean over all samples is the wrong measure."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

__all__ = ["worst_case_dataset"]


def worst_case_dataset(n: int) -> tuple[Float[ndarray, "n 2"], Float[ndarray, " n"]]:
    """One sample (0.5, −1) of class +1 and n − 1 samples (−0.5, −1) of class −1: margin and radius do not depend on n.

    Plain gradient descent on the logistic loss takes a number of steps that grows like n here, its normalised form two.
    For a hyperplane through the origin.

    Args:
        n: samples, 2 or more (Theorem 5.1 speaks of 10 or more).

    Returns:
        The samples and their labels ±1.

    Raises:
        ValueError: n below 2.

    Source: Tyurin 2025, arXiv:2412.08424, Theorem 5.1.
    """
    if n < 2:
        raise ValueError(f"n must be 2 or more, for there are two classes, got {n}")
    samples = np.tile([-0.5, -1.0], (n, 1))
    samples[0, 0] = 0.5
    labels = -np.ones(n)
    labels[0] = 1.0
    return samples, labels
