"""Expectations under N(0, 1), which say how an activation scales what a wide layer gives it.

    E f(z) = ∫ f(z) exp(−z²/2) / √(2π) dz

Gauss–Legendre panels of width ½ between −16 and 16. Gauss–Hermite nodes would converge like 1/nodes at a kink; here
every kink at a multiple of ½ (ReLU, ELU, ReLU6, hard tanh, hard swish) falls between two panels, and smooth functions
are integrated to the last digits in any case.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

__all__ = ["Moments", "normal_moments", "normal_quadrature", "tabulate"]

_PANELS, _NODES, _REACH = 64, 16, 16.0

Activation = Callable[[Any], Any]


@dataclass(frozen=True)
class Moments:
    """E φ, E φ² and the variance E φ² − (E φ)² of an activation φ under N(0, 1)."""

    mean: float
    second: float

    @property
    def variance(self) -> float:
        """E φ² − (E φ)²."""
        return self.second - self.mean**2


@cache
def normal_quadrature() -> tuple[Float[ndarray, " nodes"], Float[ndarray, " nodes"]]:
    """Nodes z_j and weights w_j with E f(z) = Σ_j w_j f(z_j); symmetric about 0, which is no node."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = _REACH / _PANELS
    middles = half * (2 * np.arange(_PANELS) + 1 - _PANELS)
    z = (middles[:, None] + half * nodes).ravel()
    w = np.tile(half * weights, _PANELS) * np.exp(-(z**2) / 2)
    return z, w / w.sum()


def tabulate(activation: Activation) -> tuple[Float[ndarray, " nodes"], Float[ndarray, " nodes"]]:
    """φ and φ′ at the nodes of `normal_quadrature`, in float64.

    φ′ comes from autograd; of a function that knows numpy only, from the polynomial through the nodes of each panel.

    Args:
        activation: element-wise, as a torch module, or a function of a tensor or of an array.

    Raises:
        ValueError: it is not element-wise, or not finite on [−16, 16].
    """
    z = normal_quadrature()[0]
    if isinstance(activation, nn.Module):
        activation = copy.deepcopy(activation).double().eval()
    x = torch.tensor(z, requires_grad=True)
    with torch.enable_grad():
        try:
            y = activation(x)
        except (TypeError, RuntimeError):  # a function for arrays, which takes no tensor that asks for its gradient
            y = None
        if isinstance(y, Tensor) and y.shape == x.shape:
            slope = torch.autograd.grad(y.sum(), x, allow_unused=True)[0] if y.requires_grad else None
            values, slopes = y.detach().numpy(), np.zeros_like(z) if slope is None else slope.numpy()
        else:
            values = np.asarray(activation(z.copy()), dtype=np.float64)
            slopes = _slopes(values) if values.shape == z.shape else values
    if values.shape != z.shape:
        raise ValueError(f"an activation is element-wise: {len(z)} values gave an array of shape {values.shape}")
    if not (np.isfinite(values).all() and np.isfinite(slopes).all()):
        raise ValueError("the activation or its derivative is not finite on [−16, 16]: it has no moments under N(0, 1)")
    return values, slopes


def normal_moments(activation: Activation) -> Moments:
    """Mean and second moment of an activation whose input is N(0, 1).

    Raises:
        ValueError: as `tabulate`.
    """
    weights, (values, _) = normal_quadrature()[1], tabulate(activation)
    return Moments(float(weights @ values), float(weights @ values**2))


def _slopes(values: ndarray) -> ndarray:
    """Derivative at the nodes of the polynomial through a panel's 16 values, written in Legendre polynomials."""
    nodes = np.polynomial.legendre.leggauss(_NODES)[0]
    basis = np.polynomial.legendre.legvander(nodes, _NODES - 1)
    derived = np.stack(
        [np.polynomial.legendre.legval(nodes, np.polynomial.legendre.legder(unit)) for unit in np.eye(_NODES)], axis=1
    )
    by_panel: ndarray = (derived @ np.linalg.solve(basis, values.reshape(_PANELS, _NODES).T)).T
    return (by_panel * _PANELS / _REACH).ravel()
