"""Group normalisation: mean and variance over a group of channels of one sample.

    y = (x − μ) / sqrt(σ² + ε) · γ + β,   μ, σ² of C/G channels and all positions of one sample

Source: Wu and He 2018, "Group Normalization", arXiv:1803.08494, equation 7.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from normkit.kernels.arguments import check_eps, check_float, check_out
from normkit.kernels.channel_norms import quick_group_norm
from normkit.kernels.channels import check_groups
from normkit.kernels.dispatch import Op, Sample, dispatch, sample, switched_off
from normkit.kernels.reference import group_norm as reference

__all__ = ["group_norm"]

_compiling = torch.compiler.is_dynamo_compiling


def group_norm(
    input: Shaped[Tensor, "*shape"],
    num_groups: int,
    weight: Float[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    eps: float = 1e-5,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """y = (x − μ) / sqrt(σ² + ε) · γ + β by groups of channels of one sample.

    Takes the same arguments as `torch.nn.functional.group_norm`. Population variance; the statistics are computed in
    float32 or wider, the result has the input's dtype.

    Args:
        input: (batch, channels, *space), any float dtype.
        num_groups: G, divides the channels.
        weight: γ, (channels,); None is 1.
        bias: β, (channels,); None is 0.
        eps: added to the variance.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor.
        ValueError: `input` has less than two axes, a group has a single value, a parameter is not (channels,),
            `num_groups` does not divide the channels (the message lists what does), `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    # The commonest call is done at once: for small maps the checks and the choice below take longer than the norm.
    if kernel is None and not (switched_off or _compiling()):
        y = quick_group_norm(input, num_groups, weight, bias, eps, out)
        if y is not None:
            return y
    check_float("group_norm", input, weight=weight, bias=bias)
    if input.ndim < 2:
        raise ValueError(f"group_norm: input must be (batch, channels, *space), got the shape {tuple(input.shape)}")
    check_groups("group_norm", input.shape[1], num_groups)
    check_eps("group_norm", eps)
    if input.numel() == input.shape[0] * num_groups and input.numel() > 0:
        raise ValueError(
            f"group_norm: a group of one value has no variance (input {tuple(input.shape)}, {num_groups} groups); use "
            "fewer groups or larger maps"
        )
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and tuple(parameter.shape) != (input.shape[1],):
            raise ValueError(
                f"group_norm: {name} must hold one value for each of the {input.shape[1]} channels, got the shape "
                f"{tuple(parameter.shape)}"
            )
    if out is not None:
        check_out("group_norm", out, input.shape, input.dtype, input, weight, bias)
    return dispatch(GROUP_NORM, input, num_groups, weight, bias, eps, kernel=kernel, out=out)


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    yield sample(normal(2, 6, 3, 3), 3, normal(6), normal(6))
    yield sample(normal(3, 4, 5), 1, normal(4), None, 1e-3)
    yield sample(normal(2, 4), 2)


GROUP_NORM = Op(
    "group_norm",
    reference=reference.group_norm,
    kernels=("native:channel_norms.group_norm", "torch:group_norm.group_norm"),
    twin="torch.nn.functional.group_norm",
    samples=_samples,
)
