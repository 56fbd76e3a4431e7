"""CRMSNorm: RMSNorm of a zero-mean vector of which only the first d − 1 entries are stored.

    y = z / sqrt((Σ z² + (Σ z)²) / d + eps) · weight,   d = len(z) + 1

Source: Jiang, Gu, Zhu, Pan 2023, arXiv:2305.14858, section 3.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Shaped
from torch import Tensor

from normkit.kernels import reference
from normkit.kernels.arguments import check_eps, check_float, check_normalized_shape, check_out
from normkit.kernels.dispatch import Op, Sample, dispatch, sample, switched_off
from normkit.kernels.norms import COMPRESSED, quick

__all__ = ["crms_norm"]

_compiling = torch.compiler.is_dynamo_compiling


def crms_norm(
    input: Shaped[Tensor, "*batch compressed_dim"],
    weight: Shaped[Tensor, "..."] | None = None,
    eps: float = 1e-5,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Shaped[Tensor, "*batch compressed_dim"]:
    """y = z / sqrt((Σ z² + (Σ z)²) / d + eps) · weight over the last axis, d one more than its size.

    A zero-mean vector x of length d is known from z = x[:d−1], because its last entry is −Σ z. The result is the first
    d − 1 entries of RMSNorm(x), and of LayerNorm(x). The sums are float32 or wider; y has the input's dtype.

    Args:
        input: (*batch, d − 1), any float dtype.
        weight: gain of the stored entries, (d − 1,).
        eps: added to the mean square of the whole vector.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `input` has no axis, `weight` has another shape than (d − 1,), `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    # The commonest call is done at once: on short rows the checks and the choice that follow take longer than the norm.
    if kernel is None and not (switched_off or _compiling()):
        y = quick(COMPRESSED, input, None, weight, None, eps, out=out)
        if y is not None:
            return y
    check_float("crms_norm", input, weight=weight)
    if input.ndim == 0:
        raise ValueError("crms_norm: input must have at least one axis, got a scalar")
    check_normalized_shape("crms_norm", input, input.shape[-1:], weight)
    check_eps("crms_norm", eps)
    if out is not None:
        check_out("crms_norm", out, input.shape, input.dtype, input, weight)
    return dispatch(CRMS_NORM, input, weight, eps, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(3, 7))
    yield sample(normal(2, 3, 5), normal(5), 1e-3)
    yield sample(normal(1))


CRMS_NORM = Op(
    "crms_norm",
    reference=reference.norms.crms_norm,
    kernels=("native:norms.crms_norm", "triton.norms.crms_norm", "torch.crms_norm"),
    samples=_samples,
)
