"""Log-sum-exp: the logarithm of the sum of exponentials.

    L = log Σ_j e^(x_j)

Source: Dukhan and Ablavatski 2020, arXiv:2001.04438 (sections 3 and 4; the sum as mantissa and exponent).
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.autograd import forward_ad

from normkit.kernels import reference
from normkit.kernels.arguments import axis, check_float, check_out
from normkit.kernels.dispatch import Op, Sample, dispatch, sample, switched_off
from normkit.kernels.softmax import LOGSUMEXP_CODE, short_rows, short_rows_into

__all__ = ["logsumexp"]

_compiling = torch.compiler.is_dynamo_compiling


def logsumexp(
    input: Shaped[Tensor, "..."],
    dim: int | Sequence[int] = -1,
    keepdim: bool = False,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Shaped[Tensor, "..."]:
    """L = log Σ_j e^(x_j) along `dim`, or along several axes, one after the other.

    A float32 row on a CPU is summed in blocks in double precision: L is within 2e-7 · max(1, |L|) at any length. Other
    dtypes and devices go to torch. An all −inf row and an empty one give −inf, +inf gives +inf, NaN gives NaN.

    Args:
        input: any shape, any float dtype.
        dim: the axis, or axes, summed over.
        keepdim: leave the axes in the result, with size 1.
        kernel: "native", "triton", "torch" or "reference"; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives L; same shape and dtype as L.

    Raises:
        TypeError: the input is no float tensor.
        IndexError: the input has no such axis.
        ValueError: `dim` is empty or names an axis twice; `out` has another shape or dtype, overlaps `input`, or a
            gradient is asked for as well.
        KernelError: the kernel named cannot do it.
    """
    # The commonest call is done at once: short rows take less time than the checks and the choice that follow.
    usual = isinstance(dim, int) and (dim == -1 or dim == input.ndim - 1) and not keepdim and kernel is None
    if usual and forward_ad._current_level < 0 and not (switched_off or _compiling()):
        total = short_rows(LOGSUMEXP_CODE, input) if out is None else short_rows_into(LOGSUMEXP_CODE, input, out)
        if total is not None:
            return total
    check_float("logsumexp", input)
    axes = [axis(input, one) for one in ([dim] if isinstance(dim, int) else dim)]
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(f"logsumexp: dim must name at least one axis and each only once, got {dim}")
    if out is not None:
        check_out("logsumexp", out, _reduced(input, axes, keepdim), input.dtype, input)
    # The last axis first: removing it renumbers none of those before it.
    *others, last = sorted(axes)
    total = dispatch(LOGSUMEXP, input, last, keepdim, kernel=kernel, out=None if others else out)
    for other in reversed(others):
        total = dispatch(LOGSUMEXP, total, other, keepdim, kernel=kernel, out=out if other == others[0] else None)
    return total


def _reduced(input: Tensor, axes: Sequence[int], keepdim: bool) -> list[int]:
    """The shape that remains; a scalar, whose only axis is no axis, stays a scalar."""
    if input.ndim == 0:
        return []
    shape = [1 if position in axes else size for position, size in enumerate(input.shape)]
    return shape if keepdim else [size for position, size in enumerate(shape) if position not in axes]


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return 4 * torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(3, 33))
    yield sample(normal(2, 5, 3), 1, True)
    yield sample(normal(2, 5, 3), (0, 2))
    yield sample(normal(2, 600), -1)


LOGSUMEXP = Op(
    "logsumexp",
    reference=reference.softmax.logsumexp,
    kernels=("native:softmax.logsumexp", "triton.softmax.logsumexp", "torch.logsumexp"),
    twin="torch.logsumexp",
    samples=_samples,
)
