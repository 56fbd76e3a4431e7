"""normkit's C++ kernels on raw memory. Addresses are integers and are trusted; `normkit.kernels.native` checks them."""

from collections.abc import Callable
from typing import Any, TypedDict

from torch import Tensor

SOFTMAX: int
LOG_SOFTMAX: int
LOGSUMEXP: int
SOFTMAX_BACKWARD: int
LOG_SOFTMAX_BACKWARD: int
LOGSUMEXP_BACKWARD: int
SOFTMAX_PAIR: int

FLOAT32: int
BFLOAT16: int
FLOAT16: int

TINY_PLANE: int
MANY_PLANES: int

HIGH: int
MASKED_ZERO: int
DETERMINISTIC: int

SHORT_ROW: int
RELOAD: int
SCRATCH: int
TWO_PASS: int
TWO_PASS_PAPER: int
THREE_PASS_RELOAD: int
THREE_PASS_RECOMPUTE: int

class InstructionSet(TypedDict):
    name: str
    description: str
    lanes: int
    supported: bool
    active: bool

def run(
    operation: int,
    storage: int,
    a: int,
    b: int,
    out: int,
    outer: int,
    dim: int,
    inner: int,
    a_stride: int,
    b_stride: int,
    out_stride: int,
    threads: int,
    flags: int,
    /,
) -> None: ...
def softmax_float32(x: int, out: int, rows: int, dim: int, threads: int, /) -> None: ...
def gradient_rows(operation: int, y: Tensor, dy: Tensor, /) -> Tensor | None: ...
def cross_entropy(
    x: int,
    target: int,
    weight: int,
    pair: int,
    storage: int,
    rows: int,
    classes: int,
    stride: int,
    ignore_index: int,
    smoothing: float,
    reduction: int,
    losses: int,
    reduced: int,
    threads: int,
    /,
) -> None: ...
def cross_entropy_backward(
    x: int,
    target: int,
    weight: int,
    pair: int,
    storage: int,
    rows: int,
    classes: int,
    stride: int,
    ignore_index: int,
    smoothing: float,
    reduction: int,
    grad: int,
    grad_stride: int,
    dx: int,
    threads: int,
    /,
) -> None: ...
def loss_of_rows(
    x: Tensor, target: Tensor, ignore_index: int, reduction: int, smoothing: float, gradient: bool, /
) -> tuple[Tensor, Tensor, Tensor | None] | None: ...
def use_torch(
    tensor: type[Tensor],
    parameter: type[Tensor],
    empty_like: Callable[[Tensor], Tensor],
    empty: Callable[..., Tensor],
    active_modes: Callable[[], int],
    get_num_threads: Callable[[], int],
    exchange: object,
    /,
) -> bool: ...
def short_rows(operation: int, x: Tensor, out: Tensor | None = None, dim: int = -1, /) -> Tensor | None: ...
def norm(*arguments: float) -> None: ...
def norm_backward(*arguments: float) -> None: ...
def norm_rows(
    operation: int,
    x: Tensor,
    normalized_shape: object,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    offset: float,
    residual: Tensor | None,
    keep_sum: bool,
    keep_scales: bool,
    out: Tensor | None,
    /,
) -> Any: ...
def norm_rows_backward(
    operation: int,
    s: Tensor,
    dy: Tensor,
    ds: Tensor | None,
    weight: Tensor | None,
    scales: Tensor,
    offset: float,
    of_weight: bool,
    of_bias: bool,
    /,
) -> tuple[Tensor, Tensor | None, Tensor | None] | None: ...
def columns(*arguments: float) -> None: ...
def columns_backward(*arguments: float) -> None: ...
def unified_advance(*arguments: float) -> int: ...
def unified_gradient(*arguments: float) -> None: ...
def power_gain(*arguments: float) -> None: ...
def power_advance(*arguments: float) -> None: ...
def power_pull(*arguments: float) -> None: ...
def power_gradients(*arguments: float) -> None: ...
def planes(*arguments: float) -> None: ...
def group_norm_rows(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, out: Tensor | None, /
) -> Tensor | None: ...
def advise_huge_pages(start: int, nbytes: int, /) -> bool: ...
def isa() -> str: ...
def use_isa(name: str, /) -> None: ...
def available() -> list[InstructionSet]: ...
def threading() -> str: ...
def thresholds() -> dict[str, int]: ...
def set_threshold(name: str, value: int, /) -> None: ...
