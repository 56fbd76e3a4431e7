"""The transformers: names, DataFrames, the rule for zeros learnt at fit, there and back, and what they refuse."""

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
