"""LayerNorm: subtract the mean and divide by the standard deviation over the trailing axes.

    y = (x − μ) / sqrt(σ² + eps) · weight + bias

Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450, section 3.
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
from normkit.kernels.norms import LAYER, quick

__all__ = ["layer_norm"]

_compiling = torch.compiler.is_dynamo_compiling


def layer_norm(
    input: Shaped[Tensor, "*batch_dim"],
    normalized_shape: Sequence[int],
    weight: Shaped[Tensor, "..."] | None = None,
    bias: Shaped[Tensor, "..."] | None = None,
    eps: float = 1e-5,
    *,
    residual: Shaped[Tensor, "*batch_dim"] | None = None,
    prenorm: bool = False,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Shaped[Tensor, "*batch_dim"] | tuple[Shaped[Tensor, "*batch_dim"], Shaped[Tensor, "*batch_dim"]]:
    """y = (x − μ) / sqrt(σ² + eps) · weight + bias over the trailing axes `normalized_shape`.

    μ and σ² are mean and population variance, taken in float32 or wider; y has the input's dtype. With `residual` the
    sum s = x + residual is normalised in x's place.

    Args:
        input: (*batch, *normalized_shape), any float dtype.
        normalized_shape: sizes of the trailing axes.
        weight: gain, of shape `normalized_shape`; may be float32 while the input is half.
        bias: shift, of shape `normalized_shape`.
        eps: added to the variance, inside the root.
        residual: added to `input` before normalising, same shape; y has the sum's dtype.
        prenorm: return (y, s) instead of y, s being the un-normalised sum (`input` itself without `residual`).
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `normalized_shape` is not the tail of `input`'s shape, `weight` or `bias` has another shape,
            `eps` < 0, `out` does not fit, or it is the input that `prenorm` shall return.
        KernelError: the kernel named cannot do it.
    """
    # The commonest call is done at once: on short rows the checks and the choice that follow take longer than the norm.
    if kernel is None and not (switched_off or _compiling()):
        y = quick(LAYER, input, normalized_shape, weight, bias, eps, 0.0, residual, prenorm, out)
        if y is not None:
            return y
    check_float("layer_norm", input, weight=weight, bias=bias, residual=residual)
    check_normalized_shape("layer_norm", input, normalized_shape, weight, bias)
    check_eps("layer_norm", eps)
    dtype = check_residual("layer_norm", input, residual)
    if out is not None:
        check_out("layer_norm", out, input.shape, dtype, input, weight, bias, residual)
        check_sum_is_kept("layer_norm", out, input, residual, prenorm)
    arguments = (input, normalized_shape, weight, bias, eps, residual, prenorm)
    return dispatch(LAYER_NORM, *arguments, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(3, 7), (7,))
    yield sample(normal(2, 3, 5), (3, 5), normal(3, 5), normal(3, 5), 1e-3)
    yield sample(normal(4, 6), (6,), normal(6))
    yield sample(normal(2, 8), (8,), normal(8), normal(8), residual=normal(2, 8))


LAYER_NORM = Op(
    "layer_norm",
    reference=reference.norms.layer_norm,
    kernels=("native:norms.layer_norm", "triton.norms.layer_norm", "torch.layer_norm"),
    twin="torch.nn.functional.layer_norm",
    samples=_samples,
)
