"""What the self-distilled regressor and classifier share: parameters, the fit to targets, the rounds' predictions."""

import math
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from normkit.estimators._kernel_map import blocks
from normkit.estimators._learning import MOST_ROUNDS, Samples, Settings, learn
from normkit.estimators._parameters import (
    check,
    check_choice,
    check_device,
    check_flag,
    check_seed,
    is_number,
    is_whole,
)
from normkit.estimators._ridge import Array

__all__ = ["SelfDistilled", "weight_roots"]

SOLVERS = {"auto": None, "eigen": True, "cholesky": False}


class SelfDistilled(BaseEstimator):
    """The common part of `SelfDistilledKernelRidge` and `SelfDistilledKernelClassifier`; parameters as there."""

    def __init__(
        self,
        kernel: Any = "rbf",
        gamma: Any = None,
        lam: Any = 1.0,
        alpha: Any = "optimal",
        n_rounds: Any = 5,
        validation_fraction: Any = 0.2,
        clip: Any = True,
        random_state: Any = None,
        *,
        degree: Any = 3,
        coef0: Any = 1,
        kernel_params: Any = None,
        n_components: Any = None,
        solver: Any = "auto",
        backend: Any = "numpy",
        device: Any = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.lam = lam
        self.alpha = alpha
        self.n_rounds = n_rounds
        self.validation_fraction = validation_fraction
        self.clip = clip
        self.random_state = random_state
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_components = n_components
        self.solver = solver
        self.backend = backend
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self._precomputed
        tags.input_tags.pairwise = self._precomputed
        return tags

    @property
    def _precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    @property
    def _sparse(self) -> Any:
        return False if self._precomputed else "csr"

    def _learn(self, samples: Samples, held: Samples | None, strata: Any = None) -> None:
        settings = self._settings()
        if self._precomputed and samples.X.shape[0] != samples.X.shape[1]:
            raise ValueError(f"kernel='precomputed' wants the square kernel matrix; X is {samples.X.shape}")
        if held is not None and settings.judged and held.X.shape[0] < 2:
            raise ValueError(f"X_val holds {held.X.shape[0]} sample: at least 2 are needed to find alpha or the rounds")
        learned = learn(samples, settings, held, strata)
        self._map, self._rounds, self._limit = learned.map, learned.coefficients, learned.limit
        self.dual_coef_ = learned.coefficients[-1]
        self.alphas_ = learned.alphas
        self.val_losses_: Any = learned.losses
        self.n_rounds_ = math.inf if self.n_rounds == "inf" else len(learned.alphas)
        self.eigenvalues_: Any = learned.eigenvalues
        self.shrinkage_: Any = learned.shrinkage
        self.degrees_of_freedom_ = None if learned.shrinkage is None else learned.shrinkage.sum(axis=1)
        with np.errstate(divide="ignore"):
            self.effective_ridge_ = np.where(learned.alphas > 0, self.lam / np.maximum(learned.alphas, 0), np.inf)
        self.distilled_ = bool((learned.alphas[0 if self.n_rounds == "inf" else 1 :] != 1).any())
        if learned.wanted and not self.distilled_:
            warnings.warn(self._nothing(learned.wanted), UserWarning, stacklevel=3)

    def _nothing(self, wanted: tuple[float, ...]) -> str:
        """Why the α that were found distil nothing."""
        said = f"nothing was distilled: the fit is plain kernel ridge regression with lam={self.lam:g}. "
        if wanted[0] > 1:
            return said + (
                f"A round can only shrink more, and the validation data want less: the best alpha of round 2 is "
                f"{wanted[0]:.3g}, beyond 1. Either the targets have little noise, or lam and gamma shrink too much "
                "already (are X and y standardized?): try a smaller lam"
            )
        if wanted[0] == 1:
            return said + (
                "The first round meets its targets so closely that a fit to its own values is the same fit: "
                "try a larger lam, or a gamma that lets samples see each other"
            )
        return said + (
            f"Round 2, with its best alpha of {wanted[0]:.3g}, has no smaller validation loss than round 1: "
            "what lam shrinks is about right already"
        )

    def _values(self, X: Any, coefficients: Array) -> Array:
        """f(x) for coefficients (rounds, n, c): (rounds, n_samples, c), the kernel of each block of rows taken once."""
        X = validate_data(self, X, accept_sparse=self._sparse, dtype=np.float64, reset=False)
        rounds, width, outputs = coefficients.shape
        flat = coefficients.transpose(1, 0, 2).reshape(width, -1)
        parts = [self._map(X[rows]) @ flat for rows in blocks(X.shape[0], width)]
        return np.concatenate(parts).reshape(-1, rounds, outputs).transpose(1, 0, 2)

    def _limit_values(self, X: Any) -> Array:
        check_is_fitted(self)
        if self._limit is None:
            raise ValueError(
                f"the limit was not computed: it needs an alpha of 0 or more (the last one is {self.alphas_[-1]:.3g}) "
                "and solver='eigen' or n_rounds='inf'"
            )
        return self._values(X, self._limit[None])[0]

    def _settings(self) -> Settings:
        """The parameters, checked, in the terms of the fit."""
        if not (is_number(self.lam) and self.lam > 0):
            raise ValueError(f"lam is {self.lam!r}: the ridge must be a positive number")
        check_flag("clip", self.clip)
        rounds = _rounds(self.n_rounds)
        alphas = _alphas(self.alpha, rounds, bool(self.clip))
        check_choice("solver", self.solver, SOLVERS)
        check_seed(self.random_state)
        self._check_kernel()
        named = {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
        return Settings(
            self.kernel,
            dict(self.kernel_params or {}) if callable(self.kernel) else named,
            float(self.lam),
            alphas,
            float(self.alpha) if is_number(self.alpha) else None,
            rounds,
            bool(self.clip),
            self._validation(alphas is None or rounds == "best"),
            SOLVERS[self.solver],
            self.n_components,
            self._torch_device(),
            self.random_state,
        )

    def _check_kernel(self) -> None:
        known = (*PAIRWISE_KERNEL_FUNCTIONS, "precomputed")
        right = self.kernel in known if isinstance(self.kernel, str) else callable(self.kernel)
        check("kernel", self.kernel, right, f"a function of two samples or one of {', '.join(known)}")
        gamma, degree, components, extra = self.gamma, self.degree, self.n_components, self.kernel_params
        check("gamma", gamma, gamma is None or (is_number(gamma) and gamma >= 0), "None or a number of at least 0")
        check("degree", degree, is_number(degree) and degree >= 0, "a number of at least 0")
        check("coef0", self.coef0, is_number(self.coef0), "a finite number")
        check(
            "kernel_params", extra, extra is None or isinstance(extra, Mapping), "None or a dict of keyword arguments"
        )
        whole = components is None or is_whole(components)
        check("n_components", components, whole, "a whole number of at least 1 or None")
        if components is not None and self._precomputed:
            raise ValueError("n_components draws samples whose kernel is computed: it needs kernel= by name")

    def _validation(self, needed: bool) -> float | str:
        given = self.validation_fraction
        if isinstance(given, str) and given == "loo":
            if needed and self.solver == "cholesky":
                raise ValueError("validation_fraction='loo' needs the hat matrix: take solver='eigen' or 'auto'")
            return given
        if not (is_number(given) and 0 < given < 1):
            raise ValueError(f"validation_fraction is {given!r}: it must lie between 0 and 1, or be 'loo'")
        return float(given)

    def _torch_device(self) -> str | None:
        check_choice("backend", self.backend, ("numpy", "torch"))
        if self.backend == "numpy":
            if self.device is not None:
                raise ValueError(f"device={self.device!r} needs backend='torch'")
            return None
        if self.device is not None:
            return str(check_device(self.device))
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"


def weight_roots(sample_weight: Any, X: Any) -> Array | None:
    """√w, or None where all samples weigh alike."""
    if sample_weight is None:
        return None
    return np.sqrt(_check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True))


def _rounds(given: Any) -> int | str:
    if isinstance(given, str) and given in ("inf", "best"):
        return given
    if is_whole(given):
        return int(given)
    raise ValueError(f"n_rounds is {given!r}: it must be at least 1, 'best' or 'inf'")


def _alphas(given: Any, rounds: int | str, clip: bool) -> tuple[float, ...] | None:
    """One α a round; none where they are to be found or, under "best", one is to be repeated without an end."""
    if isinstance(given, str):
        if given != "optimal":
            raise ValueError(f"alpha is {given!r}: it must be a number, a sequence of numbers or 'optimal'")
        if rounds == "inf":
            raise ValueError("n_rounds='inf' needs one alpha for all rounds: the limit has the ridge lam / alpha")
        return None
    several = isinstance(given, (Sequence, np.ndarray))
    if not (np.ndim(given) == 1 and all(map(_is_real, given)) if several else _is_real(given)):
        raise ValueError(f"alpha is {given!r}: it must be a number, a sequence of numbers or 'optimal'")
    found = tuple(float(each) for each in given) if several else (float(given),)
    for each in found:
        if not math.isfinite(each) or (not 0 <= each <= 1 and (clip or rounds == "inf")):
            raise ValueError(
                f"alpha is {each}: the weight of the ground truth goes from 0 to 1 (clip=False allows others, "
                "for a number of rounds that is not 'inf')"
            )
    if not several:
        return found * (1 if rounds == "inf" else MOST_ROUNDS if rounds == "best" else int(rounds))
    if rounds == "inf" or (rounds != "best" and len(found) != rounds) or not found:
        raise ValueError(f"alpha holds {len(found)} numbers and n_rounds is {rounds!r}: give one number a round")
    return found


def _is_real(value: Any) -> bool:
    """A number, finite or not: of one that is not, what follows says more."""
    return is_number(value) or (isinstance(value, Real) and not math.isfinite(value))
