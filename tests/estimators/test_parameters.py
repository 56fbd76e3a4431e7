"""Every parameter of every estimator, given what it cannot be: one ValueError that names it, and nothing else."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

from .instances import INSTANCES

# Whose parameters are not tried here.
NOT_TRIED = {"PrivateDistance", "PrivateKernelDensity", "PrivateSimilarityClassifier"}

NAN, INFINITE, THING = math.nan, math.inf, object()
BAD: tuple[Any, ...] = ("x", None, True, -1, 2.5, NAN, INFINITE, -INFINITE, [], [1, "x"], np.zeros((2, 2)), {}, THING)

FLAGS = {"center", "clip", "fit_intercept", "gaussianize", "keep_best", "preprocess", "record", "sync"}
OPTIONAL = {
    *("basis", "cutoff", "device", "gamma", "intrinsic_dim", "kernel_params", "n_components", "n_features_1", "n_jobs"),
    *("random_state", "shrinkage"),
}
# Of what is bad for others, what a parameter may be beside True for a flag and None for what is optional.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "coef0": (-1, 2.5),
    "degree": (2.5,),
    "depth": (INFINITE,),
    "gamma": (2.5,),
    "intrinsic_dim": (2.5,),
    "kernel_params": ({},),
    "lam": (2.5,),
    "n_features_1": (INFINITE,),
    "n_jobs": (-1,),
    "reference": (-1,),
    "step_size": (2.5,),
    "zeros": (2.5,),
}
# Where a parameter of the same name is another thing: (class, parameter) → all that it may be of BAD.
OWN: dict[tuple[str, str], tuple[Any, ...]] = {
    ("HierarchicalPolynomialRegressor", "degree"): (),
    ("HierarchicalPolynomialRegressor", "step_size"): (),
    ("HierarchicalPolynomialRegressor", "sync"): (),  # True asks for a seed and torch
}

DRAW = np.random.default_rng(0)
X = DRAW.uniform(0.1, 1.0, size=(40, 3))
Y = (X[:, 0] > X[:, 1]).astype(int)

CASES = [
    pytest.param(instance, name, id=f"{type(instance).__name__}-{name}")
    for instance in INSTANCES
    if type(instance).__name__ not in NOT_TRIED
    for name in instance.get_params()
]


def _allowed(estimator: BaseEstimator, name: str, value: Any) -> bool:
    shared = (*ALLOWED.get(name, ()), *((True,) if name in FLAGS else ()), *((None,) if name in OPTIONAL else ()))
    return _is_in(value, OWN.get((type(estimator).__name__, name), shared))


def _is_in(value: Any, among: tuple[Any, ...]) -> bool:
    return any(type(each) is type(value) and each == value for each in among)


@pytest.mark.parametrize(("instance", "name"), CASES)
def test_what_a_parameter_cannot_be_is_said_with_its_name(instance: BaseEstimator, name: str) -> None:
    for value in BAD:
        estimator = clone(instance).set_params(**{name: value})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a fit says of these data is not the question
            if _allowed(instance, name, value):
                estimator.fit(X, Y)
                continue
            with pytest.raises(ValueError) as error:
                estimator.fit(X, Y)
        assert name in str(error.value), f"{name}={value!r}: {error.value}"


def test_who_is_not_tried_has_an_instance() -> None:
    assert {type(instance).__name__ for instance in INSTANCES} >= NOT_TRIED


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "meta", "tpu", -1, True])
def test_a_device_that_is_not_there_is_said(device: Any) -> None:
    import torch

    if str(device).startswith("cuda") and torch.cuda.is_available():
        pytest.skip("there is one")
    for instance in INSTANCES:
        options = instance.get_params()
        if type(instance).__name__ in NOT_TRIED or "device" not in options:
            continue
        torchs = {"backend": "torch"} if "backend" in options else {}
        with pytest.raises(ValueError, match=rf"device is '?{device}'?, which torch cannot compute on here"):
            clone(instance).set_params(device=device, **torchs).fit(X, Y)
