"""LayerNorm: subtract the mean and divide by the standard deviation over the trailing axes.

    y = (x − μ) / sqrt(σ² + eps) · weight + bias

Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450, section 3.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from normkit.kernels import reference
from normkit.kernels.arguments import check_eps, check_float, check_normalized_shape, check_out
from normkit.kernels.dispatch import Op, Sample, dispatch, sample

__all__ = ["layer_norm"]


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
        residual: added to `input` before normalising, same shape.
        prenorm: return (y, s) instead of y, s being the un-normalised sum (`input` itself without `residual`).
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `normalized_shape` is not the tail of `input`'s shape, `weight` or `bias` has another shape,
            `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    check_float("layer_norm", input)
    check_normalized_shape("layer_norm", input, normalized_shape, weight, bias)
    check_eps("layer_norm", eps)
    summed = input if residual is None else input + residual
    if out is not None:
        check_out("layer_norm", out, summed.shape, summed.dtype, input, weight, bias, residual)
    y = dispatch(LAYER_NORM, summed, normalized_shape, weight, bias, eps, kernel=kernel, out=out)
    return (y, summed) if prenorm else y


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
    kernels=("triton.norms.layer_norm", "torch.layer_norm"),
    twin="torch.nn.functional.layer_norm",
    samples=_samples,
)
