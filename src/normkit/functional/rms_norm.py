"""RMSNorm: divide by the root mean square over the trailing axes.

    y = x / sqrt(mean(x²) + eps) · (offset + weight) + bias

Source: Zhang and Sennrich 2019, arXiv:1910.07467; LayerNorm's form without the mean (Ba et al. 2016, arXiv:1607.06450).
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from normkit.kernels import reference
from normkit.kernels.arguments import (
    check_eps,
    check_float,
    check_normalized_shape,
    check_out,
    check_residual,
    check_sum_is_kept,
)
from normkit.kernels.dispatch import Op, Sample, dispatch, sample, switched_off
from normkit.kernels.norms import FLOAT32_EPS, RMS, quick

__all__ = ["rms_norm"]

_compiling = torch.compiler.is_dynamo_compiling

_CASTS = ("torch", "llama", "gemma")


def rms_norm(
    input: Shaped[Tensor, "*batch_dim"],
    normalized_shape: Sequence[int],
    weight: Shaped[Tensor, "..."] | None = None,
    eps: float | None = None,
    *,
    bias: Shaped[Tensor, "..."] | None = None,
    offset: float = 0.0,
    cast: str = "torch",
    residual: Shaped[Tensor, "*batch_dim"] | None = None,
    prenorm: bool = False,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Shaped[Tensor, "*batch_dim"] | tuple[Shaped[Tensor, "*batch_dim"], Shaped[Tensor, "*batch_dim"]]:
    """y = x / sqrt(mean(x²) + eps) · (offset + weight) + bias over the trailing axes `normalized_shape`.

    With `residual` the sum s = x + residual is normalised in x's place. The statistics are float32 or wider. Three
    roundings of half precision are in use, and checkpoints depend on them: "torch" and "gemma" round once, after the
    affine part; "llama" rounds x / rms first and multiplies in the input's dtype. Gemma's weights start at 0 and go
    with `offset=1`. In float32 and float64 the three agree.

    Args:
        input: (*batch, *normalized_shape), any float dtype.
        normalized_shape: sizes of the trailing axes.
        weight: gain, of shape `normalized_shape`.
        eps: added to the mean square; None is the machine epsilon of the dtype that the statistics are taken in.
        bias: shift, of shape `normalized_shape`.
        offset: added to `weight`.
        cast: "torch", "llama" or "gemma".
        residual: added to `input` before normalising, same shape; y has the sum's dtype.
        prenorm: return (y, s) instead of y, s being the un-normalised sum (`input` itself without `residual`).
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `normalized_shape` is not the tail of `input`'s shape, `weight` or `bias` has another shape,
            `eps` < 0, `cast` is unknown, `out` does not fit, or it is the input that `prenorm` shall return.
        KernelError: the kernel named cannot do it.
    """
    # The commonest call is done at once: on short rows the checks and the choice that follow take longer than the norm.
    if kernel is None and cast == "torch" and not (switched_off or _compiling()):
        usual_eps = FLOAT32_EPS if eps is None else eps  # only float32 is usual
        y = quick(RMS, input, normalized_shape, weight, bias, usual_eps, offset, residual, prenorm, out)
        if y is not None:
            return y
    check_float("rms_norm", input, weight=weight, bias=bias, residual=residual)
    check_normalized_shape("rms_norm", input, normalized_shape, weight, bias)
    check_eps("rms_norm", eps)
    if cast not in _CASTS:
        raise ValueError(f"rms_norm: cast is 'torch', 'llama' or 'gemma', not {cast!r}")
    dtype = check_residual("rms_norm", input, residual)
    if out is not None:
        check_out("rms_norm", out, input.shape, dtype, input, weight, bias, residual)
        check_sum_is_kept("rms_norm", out, input, residual, prenorm)
    arguments = (input, normalized_shape, weight, eps, bias, offset, cast, residual, prenorm)
    return dispatch(RMS_NORM, *arguments, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(3, 7), (7,))
    yield sample(normal(2, 3, 5), (3, 5), normal(3, 5), 1e-6)
    yield sample(normal(4, 6), (6,), normal(6), 1e-5, bias=normal(6), offset=1.0, cast="gemma")
    yield sample(normal(2, 8), (8,), normal(8), 1e-5, cast="llama", residual=normal(2, 8))


RMS_NORM = Op(
    "rms_norm",
    reference=reference.norms.rms_norm,
    kernels=("native:norms.rms_norm", "triton.norms.rms_norm", "torch.rms_norm"),
    twin="torch.nn.functional.rms_norm",
    samples=_samples,
)
