"""Right first: the error of a variant in units in the last place, against the reference in float64."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.benchmarks._harness.suite import Inputs, Scene, Suite

__all__ = ["Truth", "most_ulp"]

_ROWS_OF = 2**20
_SMALLEST = 2.0**-125


class Truth:
    """The reference of one scene in float64, computed once and compared with each variant.

    Forward scenes compare the output, the others the gradients of Σ upstream · output. A gradient's error counts in
    units in the last place of the tensor's largest entry: it is a sum in which larger terms cancel.
    """

    def __init__(self, suite: Suite, scene: Scene, inputs: Inputs, upstream: Tensor) -> None:
        """Evaluate `suite.reference` on `inputs` (a share of the rows where they are many and independent)."""
        self.suite = suite
        self.backward = scene.mode != "fwd"
        self.count = inputs[0].numel() // max(1, inputs[0].shape[-1]) if inputs[0].ndim else 1
        self.rows = _share_of_rows(self.count, inputs[0].shape[-1]) if suite.rowwise and not self.backward else None
        rows = inputs[0].shape
        chosen = tuple(self._rows(each) if each.shape == rows else each for each in inputs)
        self.inputs = tuple(each.double() if each.is_floating_point() else each for each in chosen)
        self.expected: tuple[Tensor, ...] = (
            gradients(suite.reference, self.inputs, upstream.double())
            if self.backward
            else (suite.reference(*self.inputs).detach(),)
        )

    @property
    def limit(self) -> float:
        """The largest error, in units in the last place, that the public function may show."""
        return self.suite.most_gradient_ulp if self.backward else self.suite.most_ulp

    def error(self, found: Sequence[Tensor]) -> float:
        """The largest error over all elements of all tensors, in units in the last place of `found`'s dtype."""
        errors = []
        for ours, truth in zip(found, self.expected, strict=True):
            scale = truth.abs().amax().expand_as(truth) if self.backward else self.suite.scale(truth, self.inputs)
            errors.append(most_ulp(self._rows(ours).reshape(truth.shape), truth, scale))
        return max(errors, default=0.0)

    def _rows(self, tensor: Tensor) -> Tensor:
        return tensor if self.rows is None else tensor.reshape(self.count, -1)[self.rows]


def gradients(call: object, inputs: Inputs, upstream: Tensor) -> tuple[Tensor, ...]:
    """Gradients of Σ upstream · call(inputs) with respect to the inputs that are float tensors."""
    leaves = tuple(each.detach().requires_grad_(each.is_floating_point()) for each in inputs)
    output = call(*leaves)  # type: ignore[operator]
    return torch.autograd.grad(output, [leaf for leaf in leaves if leaf.requires_grad], upstream.to(output.dtype))


def most_ulp(found: Float[Tensor, "*shape"], truth: Float[Tensor, "*shape"], scale: Float[Tensor, "*shape"]) -> float:
    """The largest |found − truth| in units in the last place of `scale`, in the precision of `found`.

    Elements whose scale is below 2^-125 are left out: there the spacing is that of denormal numbers, which may be
    flushed. Inf where `found` is not finite and `truth` is.
    """
    digits = 1 - int(math.log2(torch.finfo(found.dtype).eps))
    counted = scale >= _SMALLEST
    if not bool(counted.any()):
        return 0.0
    exponent = torch.frexp(scale[counted]).exponent
    error = (found.double()[counted] - truth[counted]).abs()
    in_ulp = torch.ldexp(error, digits - exponent)
    return float(in_ulp.nan_to_num(nan=math.inf).max())


def _share_of_rows(count: int, length: int) -> Tensor | None:
    """Indices of evenly spread rows, the first and the last among them; None where all rows are few enough."""
    wanted = max(2, _ROWS_OF // max(1, length))
    return None if count <= wanted else torch.linspace(0, count - 1, wanted, dtype=torch.float64).round().long()
