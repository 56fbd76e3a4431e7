"""The transformers: names, DataFrames, the rule for zeros learnt at fit, there and back, and what they refuse."""

import re

import numpy as np
import pandas as pd
import pytest

from normkit.estimators import ALRTransformer, CLRTransformer, ILRTransformer, alr, closure, clr, ilr

FRAME = pd.DataFrame({"Si": [70, 60, 50], "Al": [20, 25, 30], "K": [10, 15, 20]}, index=["a", "b", "c"])
X = FRAME.to_numpy()


@pytest.mark.parametrize(
    ("transformer", "wanted", "names"),
    [
        (CLRTransformer(), clr(X), ["Si", "Al", "K"]),
        (ALRTransformer("Al"), alr(X, 1), ["log(Si/Al)", "log(K/Al)"]),
        (ALRTransformer(-1), alr(X, 2), ["log(Si/K)", "log(Al/K)"]),
        (ILRTransformer(), ilr(X), ["ilrtransformer0", "ilrtransformer1"]),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
def test_a_frame_in_and_out(transformer, wanted: np.ndarray, names: list[str]) -> None:  # type: ignore[no-untyped-def]
    frame = transformer.set_output(transform="pandas").fit_transform(FRAME)
    assert list(frame.columns) == names
    assert list(frame.index) == ["a", "b", "c"]
    np.testing.assert_allclose(frame, wanted)
    np.testing.assert_allclose(transformer.inverse_transform(frame), closure(X))


def test_a_basis_of_ones_own() -> None:
    basis = np.array([[0.0, 1.0, -1.0], [2.0, -1.0, -1.0]]) / np.sqrt([[2.0], [6.0]])
    np.testing.assert_allclose(ILRTransformer(basis).fit_transform(X), ilr(X, basis))
    with pytest.raises(ValueError, match="basis has shape"):
        ILRTransformer(np.eye(2)).fit(X)


def test_the_smallest_entry_is_learnt() -> None:
    trained = CLRTransformer(zeros="min").fit([[1.0, 0.0, 2.0], [0.5, 3.0, 1.0]])
    np.testing.assert_allclose(trained.transform([[10.0, 0.0, 20.0]]), clr([[10.0, 0.5, 20.0]]))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="reference is 3: it must be an index below 3 or a column, such as 'Si'"):
        ALRTransformer(3).fit(FRAME)
    with pytest.raises(ValueError, match="reference is 'Fe'"):
        ALRTransformer("Fe").fit(FRAME)
    with pytest.raises(ValueError, match="zeros in Al"):
        CLRTransformer().fit(FRAME.replace(20, 0).rename(columns={"K": "P"}).drop(index="c"))
    fitted = ALRTransformer().fit(FRAME)
    with pytest.raises(ValueError, match="3 coordinates came: 2 are wanted"):
        fitted.inverse_transform(X)
    with pytest.raises(ValueError, match="input_features is not equal"):
        fitted.get_feature_names_out(["a", "b", "c"])


@pytest.mark.parametrize(
    ("transformer", "name", "values"),
    [
        (CLRTransformer, "zeros", ("x", None, True, 0, float("nan"), [1.0], np.ones(3))),
        (ALRTransformer, "zeros", ("x", None, True, 0, float("nan"), [1.0], np.ones(3))),
        (ILRTransformer, "zeros", ("x", None, True, 0, float("nan"), [1.0], np.ones(3))),
        (ALRTransformer, "reference", ("x", None, True, 1.5, 3, -4, [0], np.zeros(2), ("Si",))),
    ],
)
def test_parameters_that_are_none(transformer: type, name: str, values: tuple[object, ...]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=re.escape(f"{name} is {value!r}")):
            transformer(**{name: value}).fit(FRAME)


@pytest.mark.parametrize("basis", ["x", 1, True, [[1.0]], [["a"] * 3] * 2, np.full((2, 3), np.nan), np.ones((2, 3))])
def test_bases_that_are_none(basis: object) -> None:
    with pytest.raises(ValueError, match="basis"):
        ILRTransformer(basis).fit(FRAME)


def test_columns_and_gaps_are_named() -> None:
    for transformer in (CLRTransformer(), ALRTransformer(), ILRTransformer()):
        with pytest.raises(ValueError, match="no numbers in site"):
            transformer.fit(FRAME.assign(site="east"))
        with pytest.raises(ValueError, match=r"contains NaN in Al \(1 of 3 rows\)"):
            transformer.fit(FRAME).transform(FRAME.assign(Al=[1.0, np.nan, 2.0]))
    numbers = FRAME.set_axis([7, 8, 9], axis=1)
    np.testing.assert_allclose(ALRTransformer(8).fit_transform(numbers), alr(X, 1))
    assert list(ALRTransformer(8).fit(numbers).get_feature_names_out()) == ["log(7/8)", "log(9/8)"]
