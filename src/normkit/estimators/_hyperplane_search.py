"""The search for hyperplanes: step after step until every sample is on its side, or the steps are used up."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from normkit.estimators._separation import METHODS, log_sigmoid

__all__ = ["Search"]


@dataclass
class Search:
    """The problems that are solved side by side; θ has the intercept in its last row.

    `begun` says that θ is not 0: the batch perceptron's first step, the limit of one from 0, is then behind it.
    """

    samples: Any
    signs: Any
    count: Any
    theta: Any
    intercept: bool
    begun: bool = False
    best: Any = None
    steps: int = 0
    ended: bool = False
    history: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best, self._most = self.theta, self.theta[:1].sum(0) - 1.0
        self._wrong = 0 * self._most

    def run(self, method: str, step_size: float, max_iter: int, record: bool) -> None:
        """Step until all is right; problems that are solved stand still."""
        weights = METHODS[method]
        while True:
            margins = self._margins()
            right = margins > 0
            self._keep(right)
            if record:
                self._record(margins, right)
            open_problems = ~right.all(0)
            self.ended = not bool(open_problems.any())
            if self.ended or self.steps == max_iter:
                return
            step = weights(margins, self.count, step_size, self.steps + self.begun)
            self.theta = self.theta + self._sum(step * self.signs * open_problems)
            self.steps += 1
            if not math.isfinite(float((0 * self.theta).sum())):
                raise ValueError(
                    f"the parameters overflowed in step {self.steps} with step_size={step_size:g}: take a smaller one, "
                    "or scale the features"
                )

    @property
    def fewest_wrong(self) -> int:
        """Samples that the best parameters have on the wrong side, in the problem with the most."""
        return int(self._wrong.max())

    def _margins(self) -> Any:
        scores = _cast(self.samples @ _cast(self.theta[:-1], self.samples), self.theta)
        return self.signs * (scores + self.theta[-1:])

    def _sum(self, weights: Any) -> Any:
        """Aᵀ w, with the intercept's row below."""
        last = weights.sum(0)[None] * float(self.intercept)
        rows = _cast(self.samples.T @ _cast(weights, self.samples), weights)
        return torch.cat([rows, last]) if isinstance(weights, torch.Tensor) else np.vstack([rows, last])

    def _keep(self, right: Any) -> None:
        most, wrong = (right * self.count).sum(0), (~right).sum(0)
        # a weight can be too small to change the sum of the others: the number of samples then tells them apart
        better = (most > self._most) | ((most == self._most) & (wrong < self._wrong))
        if not bool(better.any()):
            return
        where: Any = torch.where if isinstance(self.theta, torch.Tensor) else np.where
        self.best, self._most = where(better, self.theta, self.best), where(better, most, self._most)
        self._wrong = where(better, wrong, self._wrong)

    def _record(self, margins: Any, right: Any) -> None:
        total = self.count.sum()
        loss = -(log_sigmoid(margins) * self.count).sum(0) / total
        gradient = self._sum(METHODS["plain"](margins, self.count, 1.0, 1) * self.signs)
        figures = {
            "accuracy": (right * self.count).sum(0) / total,
            "loss": loss,
            "gradient_norm": (gradient * gradient).sum(0) ** 0.5,
            "wrong": (~right).sum(0),
        }
        for name, values in figures.items():
            self.history.setdefault(name, []).append([float(value) for value in values])


def _cast(array: Any, like: Any) -> Any:
    """`array` in the type of `like`."""
    return array.to(like.dtype) if isinstance(array, torch.Tensor) else array.astype(like.dtype, copy=False)
