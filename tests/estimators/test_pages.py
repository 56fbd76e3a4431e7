"""What the pages of the estimators tell a reader to type runs as it stands, from top to bottom."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score

PAGES = Path(__file__).parents[2] / "docs" / "papers"
BLOCK = re.compile(r"^ *```python\n(.*?)^ *```$", re.M | re.S)


def typed(slug: str) -> dict[str, Any]:
    """The names that the page's Python leaves behind."""
    names: dict[str, Any] = {}
    for block in BLOCK.findall((PAGES / f"{slug}.md").read_text(encoding="utf-8")):
        exec(compile(dedent(block), f"{slug}.md", "exec"), names)
    return names


def test_self_distillation_distils_something() -> None:
    names = typed("self-distillation")
    model = names["model"]
    assert model.distilled_
    assert model.alphas_ == pytest.approx([1, 0, 0.08, 0.18, 0.19], abs=0.005)
    errors = [np.square(each - names["y_test"]).mean() for each in model.staged_predict(names["X_test"])]
    assert (errors[0], errors[-1]) == pytest.approx((0.62, 0.56), abs=0.005)
    assert len(names["run"].rounds) == 3
    with pytest.warns(UserWarning, match="nothing was distilled"):
        model.set_params(lam=1.0, gamma=None).fit(names["X"], names["y"])


def test_normalized_descent_ends() -> None:
    names = typed("normalized-lr")
    assert names["model"].converged_
    assert names["model"].score(names["X"], names["y"]) == 1


def test_the_hidden_polynomial_is_found() -> None:
    names = typed("hierarchical-poly")
    assert abs(np.corrcoef(names["z"], names["p"])[0, 1]) > 0.8


def test_the_infinite_network_classifies_and_a_column_of_ones_keeps_the_length() -> None:
    names = typed("wide-deep-optimal")
    plain, whole = names["model"], names["whole"]
    assert plain.score(names["X"][1::2], names["y"][1::2]) > 0.9
    assert whole.score(names["X"][1::2], names["y"][1::2]) > 0.9
    X, y = load_iris(return_X_y=True)
    for model, right in ((plain, 0.81), (whole, 0.95)):
        assert cross_val_score(model, X, y, cv=5).mean() == pytest.approx(right, abs=0.005)
