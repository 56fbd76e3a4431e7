"""Cross-entropy of logits: the negative log-probability of the target class, without storing a probability.

    loss = (1 − ε) w_t (L − x_t) + ε/C Σ_j w_j (L − x_j),   L = log Σ_j e^(x_j)

Source: Dukhan and Ablavatski 2020, arXiv:2001.04438 (the sum as mantissa and exponent, sections 3 and 4); smoothing:
Szegedy et al. 2016, arXiv:1512.00567, section 7.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.autograd import forward_ad

from normkit.kernels import reference
from normkit.kernels.arguments import check_float, check_out
from normkit.kernels.cross_entropy import loss_of_rows
from normkit.kernels.dispatch import Op, Sample, dispatch, sample, switched_off

__all__ = ["cross_entropy"]

_compiling = torch.compiler.is_dynamo_compiling


def cross_entropy(
    input: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    weight: Shaped[Tensor, " classes"] | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    kernel: str | None = None,
    out: Shaped[Tensor, "..."] | None = None,
) -> Shaped[Tensor, "..."]:
    """−log of the probability that softmax(input) gives the target, as `torch.nn.functional.cross_entropy`.

    Class indices on float32, bfloat16 or float16 rows on a CPU take two passes over the logits, forward and backward
    together, and no memory of their size but the gradient; other dtypes, orders of memory, devices, probabilities as
    targets, and small calls with weights, in half types or without a reduction go to torch. A row with a NaN or +inf in
    it and a row that is all −inf give NaN, as in torch.

    Args:
        input: logits, shape (classes), (batch, classes) or (batch, classes, d1, …).
        target: class indices (int64) of the input's shape without the classes, or probabilities of the input's shape.
        weight: one factor per class; None weighs all alike.
        size_average: torch's older name for a part of `reduction`; leave it.
        ignore_index: rows with this target have loss and gradient 0 and do not count in a mean.
        reduce: torch's older name for a part of `reduction`; leave it.
        reduction: "none", "mean" (divided by the targets' weights) or "sum".
        label_smoothing: ε in [0, 1], the share of the target that is spread over all classes.
        kernel: "native", "triton", "torch" or "reference"; None leaves the choice to `normkit.kernels.dispatch`.
        out: receives the loss; same shape and dtype as the loss.

    Raises:
        TypeError: the input is no float tensor, or the target neither int64 (or uint8) nor float.
        IndexError: a target is neither a class nor `ignore_index`. On a CUDA device the Triton kernel gives NaN in loss
            and gradient instead, where torch's ends the process's use of the device; under
            `torch.autograd.detect_anomaly()` or with CUDA_LAUNCH_BLOCKING=1 it waits and raises.
        ValueError: the reduction is unknown; `label_smoothing` is not in [0, 1]; the target or the weight has another
            shape; `out` does not fit or a gradient is asked for as well.
        KernelError: the kernel named cannot do it.
    """
    # The commonest call is done at once: a few short rows take less time than the checks and the choice that follow.
    usual = reduction in ("mean", "sum") and weight is None and kernel is None and out is None and reduce is None
    usual = usual and size_average is None and 0.0 <= label_smoothing <= 1.0 and not (switched_off or _compiling())
    if usual and forward_ad._current_level < 0 and isinstance(input, Tensor) and isinstance(target, Tensor):
        loss = loss_of_rows(input, target, ignore_index, reduction, label_smoothing)
        if loss is not None:
            return loss
    if size_average is not None or reduce is not None:
        reduction = torch.nn._reduction.legacy_get_string(size_average, reduce)
    check_float("cross_entropy", input, target=target, weight=weight)
    if reduction not in ("mean", "none", "sum"):
        raise ValueError(f"cross_entropy: reduction is 'none', 'mean' or 'sum', not {reduction!r}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    _check_shapes(input, target, weight)
    if out is not None:
        shape = [] if reduction != "none" else _without_classes(input)
        check_out("cross_entropy", out, shape, input.dtype, input, weight)
    return dispatch(
        CROSS_ENTROPY, input, target, weight, ignore_index, reduction, label_smoothing, kernel=kernel, out=out
    )


def _without_classes(input: Tensor) -> torch.Size:
    return input.shape[:0] if input.ndim == 1 else input.shape[:1] + input.shape[2:]


def _check_shapes(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    if input.ndim == 0:
        raise ValueError("cross_entropy: input must have an axis of classes, got a scalar")
    if target.dtype not in (torch.int64, torch.uint8) and not target.is_floating_point():
        raise TypeError(f"cross_entropy: target must be class indices (int64) or probabilities, got {target.dtype}")
    wanted = input.shape if target.is_floating_point() else _without_classes(input)
    if target.shape != wanted:
        raise ValueError(
            f"cross_entropy: target must have the shape {tuple(wanted)} beside an input of {tuple(input.shape)}, "
            f"got {tuple(target.shape)}"
        )
    if weight is not None and weight.shape != (classes := input.shape[input.ndim > 1 :][:1]):
        raise ValueError(f"cross_entropy: weight must have the shape {tuple(classes)}, got {tuple(weight.shape)}")


def _samples() -> Iterator[Sample]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return 4 * torch.randn(shape, generator=draw, dtype=torch.float64)

    def classes(count: int, *shape: int) -> Tensor:
        return torch.randint(count, shape, generator=draw)

    ignored = classes(33, 4)
    ignored[2] = -100
    yield sample(normal(3, 7), classes(7, 3))
    yield sample(normal(4, 33), ignored, label_smoothing=0.1)
    yield sample(normal(4, 33), ignored, reduction="none")
    yield sample(normal(3, 5), classes(5, 3), normal(5).abs() + 0.1, label_smoothing=0.2, reduction="sum")
    yield sample(normal(2, 600), classes(600, 2), ignore_index=3)
    yield sample(normal(2, 5, 3), classes(5, 2, 3), reduction="none")
    yield sample(normal(3, 5), normal(3, 5).softmax(1), label_smoothing=0.1)
    yield sample(normal(6), torch.tensor(2))


CROSS_ENTROPY = Op(
    "cross_entropy",
    reference=reference.cross_entropy.cross_entropy,
    kernels=("native:cross_entropy.cross_entropy", "triton.cross_entropy.cross_entropy", "torch.cross_entropy"),
    twin="torch.nn.functional.cross_entropy",
    samples=_samples,
)
