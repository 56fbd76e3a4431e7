"""Softmax: exponentials of a row divided by their sum.

    y_i = e^(x_i) / Σ_j e^(x_j)

Source: Dukhan and Ablavatski 2020, arXiv:2001.04438 (exponentials kept as mantissa and exponent, sections 3 and 4).
"""

from collections.abc import Iterator

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.autograd import forward_ad

from normkit.kernels import reference
from normkit.kernels.arguments import axis, check_accuracy, check_float, check_out
from normkit.kernels.dispatch import Op, Sample, dispatch, sample, switched_off
from normkit.kernels.softmax import SOFTMAX_CODE, short_rows, short_rows_into

__all__ = ["softmax"]

_compiling = torch.compiler.is_dynamo_compiling


def softmax(
    input: Shaped[Tensor, "*shape"],
    dim: int = -1,
    dtype: torch.dtype | None = None,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
    accuracy: str = "default",
    masked_zero: bool = False,
    deterministic: bool = False,
) -> Shaped[Tensor, "*shape"]:
    """y_i = e^(x_i) / Σ_j e^(x_j) along `dim`; no element and no sum can overflow.

    A float32 row on a CPU is summed in blocks in double precision: at most 6 units in the last place from the exact
    result at any length up to 2^24 (results below 2^-126 become 0). Large CUDA tensors go to
    Triton along their last axis, all else to torch. A row with a NaN or +inf in it and a row that is all −inf give NaN,
    as in torch.

    Args:
        input: any shape, any float dtype.
        dim: the axis that is normalised.
        dtype: cast the input to this dtype first.
        kernel: "native", "triton", "torch", "reference", or one of the paper's own algorithms for comparison:
            "two-pass-paper", "three-pass-reload", "three-pass-recompute"; None leaves the choice to
            `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as y, may be `input` itself.
        accuracy: "high" takes one more term of the exponential's polynomial: at most 4 units in the last place.
        masked_zero: rows that are all −inf give zeros and a zero gradient.
        deterministic: the result does not depend on the number of threads (it may otherwise, in the last place, where
            there are fewer rows than threads and a row is split).

    Raises:
        TypeError: the input, after `dtype`, is no float tensor.
        IndexError: the input has no axis `dim`.
        ValueError: `out` has another shape or dtype, overlaps `input` in part, or a gradient is asked for as well;
            `accuracy` is unknown.
        KernelError: the kernel named cannot do it.
    """
    # The commonest call is done at once: short rows take less time than the checks and the choice that follow.
    usual = dtype is None and kernel is None
    usual = usual and accuracy == "default" and not (masked_zero or deterministic or switched_off or _compiling())
    if usual and forward_ad._current_level < 0:
        if out is None:
            y = short_rows(SOFTMAX_CODE, input, None, dim)
        else:
            y = short_rows_into(SOFTMAX_CODE, input, out, dim)
        if y is not None:
            return y
    x = input if dtype is None else input.to(dtype)
    check_float("softmax", x)
    check_accuracy("softmax", accuracy)
    dim = axis(x, dim)
    if out is not None:
        check_out("softmax", out, x.shape, x.dtype, input)
    return dispatch(SOFTMAX, x, dim, accuracy, masked_zero, deterministic, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return 4 * torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(3, 33))
    yield sample(normal(2, 5, 3), 1)
    yield sample(normal(2, 1), -1, accuracy="high")
    yield sample(normal(2, 600), -1, deterministic=True)
    yield sample(torch.cat([normal(1, 9), torch.full((1, 9), -torch.inf, dtype=torch.float64)]), masked_zero=True)


SOFTMAX = Op(
    "softmax",
    reference=reference.softmax.softmax,
    kernels=("native:softmax.softmax", "triton.softmax.softmax", "torch.softmax"),
    by_name=(
        "two-pass-paper:softmax.two_pass_paper",
        "three-pass-reload:softmax.three_pass_reload",
        "three-pass-recompute:softmax.three_pass_recompute",
    ),
    twin="torch.nn.functional.softmax",
    samples=_samples,
)
