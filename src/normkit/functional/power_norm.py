"""PowerNorm: divide by the quadratic mean over the batch (PN-V), or by its running value (PN).

    u = x / sqrt(mean of x² over the position's group + ε),   y = γ u / sqrt(d + ε) + β

Source: Shen, Yao, Gholami, Mahoney, Keutzer 2020, "PowerNorm: Rethinking Batch Normalization in Transformers",
arXiv:2003.07845, sections 3 and 4.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from normkit.kernels.arguments import check_counter, check_eps, check_float, check_out
from normkit.kernels.channels import check_groups
from normkit.kernels.dispatch import Op, Sample, dispatch, sample
from normkit.kernels.padding import check_pad_mask
from normkit.kernels.reference import power_norm as reference

__all__ = ["power_norm"]


def power_norm(
    input: Shaped[Tensor, "*shape"],
    weight: Float[Tensor, "..."] | None,
    bias: Float[Tensor, "..."] | None,
    running_phi: Float[Tensor, "..."],
    running_gz: Float[Tensor, "..."] | None = None,
    iters: Int[Tensor, "..."] | None = None,
    training: bool = False,
    variant: str = "pn",
    alpha_fwd: float = 0.9,
    alpha_bwd: float = 0.9,
    warmup_iters: int = 4000,
    group_num: int = 1,
    eps: float = 1e-5,
    backward_scale: str = "batch",
    pad_mask: Shaped[Tensor, "..."] | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "*shape"]:
    """y = γ u / sqrt(d + ε) + β; u the layer-scaled input, d a quadratic mean of u per channel, over all positions.

    With ψ² = mean(u²) of this batch:

    - training, "pn-v": d = ψ², differentiated exactly; then φ ← α_f φ + (1 − α_f) ψ².
    - training, "pn", at step k = 1, 2, …: d = ψ² up to the warm-up's end (k ≤ W), then φ as the step before left it.
      For k < W first φ ← φ (k − 1)/k + ψ²/k, then always φ ← α_f φ + (1 − α_f) ψ². No gradient passes through ψ² or φ.
      The backward pass is the paper's approximation: with g = γ gy, û = u / sqrt(d + ε) and e = `running_gz`,
      a = g − (1 − α_b) e û, then e ← e + mean(a û), gu = a / sqrt(ψ² + ε); ∂γ = Σ gy û, ∂β = Σ gy.
    - evaluation: d = φ.

    Statistics are in float32 or wider. The buffers are moved in place: φ and `iters` by the call, e by its backward
    pass (by each, where there are several).

    Args:
        input: x, (…, C), any float dtype; the leading axes are the positions.
        weight: γ, (C,), or None for 1.
        bias: β, (C,), or None for 0.
        running_phi: φ, (C,).
        running_gz: e, (C,); only "pn" in training needs it.
        iters: number of training steps so far, a 0-d integer that a training call adds 1 to; only "pn" needs it.
        training: whether d comes from this batch, and the buffers move.
        variant: "pn" or "pn-v".
        alpha_fwd: α_f in [0, 1), the weight of the past in φ.
        alpha_bwd: α_b in [0, 1), for e.
        warmup_iters: W, training steps in which the batch's own quadratic mean is used.
        group_num: G, groups of channels that are scaled together at each position; 0 leaves layer scale out, u = x.
        eps: ε, inside both roots.
        backward_scale: by what a is divided: "batch", this step's ψ² as the authors' code does, or "running", the d
            that the forward pass used.
        pad_mask: True at positions that are padding, (…) as `input` without its last axis; they are left out of ψ².
        reduce: adds a tensor up over the ranks whose batches are one (differentiable, for "pn-v"); None: one process.
        kernel: name of the kernel that must compute it; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives y; same shape and dtype as `input`.

    Raises:
        TypeError: `input` is no float tensor, or `pad_mask` is not boolean.
        ValueError: `input` has no channel axis, a parameter or buffer is missing or not (C,), G does not divide C (the
            message lists what does), an alpha is outside [0, 1), `variant` or `backward_scale` is unknown, the mask has
            another shape or leaves no position, `eps` < 0, or `out` does not fit.
        KernelError: the kernel named cannot do it.
    """
    name = "power_norm"
    _check_channels(name, input, weight=weight, bias=bias, running_phi=running_phi, running_gz=running_gz)
    if group_num:
        check_groups(name, input.shape[-1], group_num)
    check_eps(name, eps)
    check_options(name, variant, alpha_fwd, alpha_bwd, backward_scale)
    if training and variant == "pn" and (running_gz is None or iters is None):
        raise ValueError(f"{name}: variant 'pn' moves running_gz and iters in training; give both, or use 'pn-v'")
    if iters is not None:
        check_counter(name, "iters", iters)
    if pad_mask is not None:
        check_pad_mask(name, input, pad_mask, read=training and reduce is None)
    if out is not None:
        check_out(name, out, input.shape, input.dtype, input, weight, bias)
    state = (running_phi, running_gz, iters, training, variant, alpha_fwd, alpha_bwd, warmup_iters)
    options = (group_num, eps, backward_scale, pad_mask if training else None, reduce)
    return dispatch(POWER_NORM, input, weight, bias, *state, *options, kernel=kernel, out=out)


def check_options(name: str, variant: str, alpha_fwd: float, alpha_bwd: float, backward_scale: str) -> None:
    """Raise ValueError for a variant, a backward scale or an alpha that there is not."""
    if variant not in ("pn", "pn-v"):
        raise ValueError(f"{name}: variant is 'pn' or 'pn-v', not {variant!r}")
    if backward_scale not in ("batch", "running"):
        raise ValueError(f"{name}: backward_scale is 'batch' or 'running', not {backward_scale!r}")
    for label, alpha in {"alpha_fwd": alpha_fwd, "alpha_bwd": alpha_bwd}.items():
        if not 0 <= alpha < 1:
            raise ValueError(f"{name}: {label} must lie in [0, 1), got {alpha}")


def _check_channels(name: str, input: Tensor, **parameters: Tensor | None) -> None:
    check_float(name, input, **parameters)
    if input.ndim < 1:
        raise ValueError(f"{name}: input must be (…, channels), got a tensor without axes")
    for label, parameter in parameters.items():
        if parameter is not None and tuple(parameter.shape) != (input.shape[-1],):
            raise ValueError(
                f"{name}: {label} must hold one value for each of the {input.shape[-1]} channels of the input "
                f"{tuple(input.shape)}, got the shape {tuple(parameter.shape)}"
            )


def _samples() -> Iterator[Sample]:
    # "pn" trains by a gradient that is no derivative of its values, so none of the samples does.
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    padding = torch.tensor([[False, False, True], [False, True, True]])
    yield sample(normal(2, 3, 4), normal(4), normal(4), normal(4).exp(), training=True, variant="pn-v", group_num=2)
    yield sample(
        normal(2, 3, 4), normal(4), None, normal(4).exp(), training=True, variant="pn-v", group_num=0, pad_mask=padding
    )
    yield sample(normal(5, 6), normal(6), normal(6), normal(6).exp(), eps=1e-2)
    yield sample(normal(3, 2, 4), None, None, normal(4).exp(), group_num=4)


POWER_NORM = Op(
    "power_norm",
    reference=reference.power_norm,
    kernels=("native:power_norm.power_norm", "triton.power_norm.power_norm"),
    samples=_samples,
)
