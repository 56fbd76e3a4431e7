"""normkit's C++ kernels on raw memory. Addresses are integers and are trusted; `normkit.kernels.native` checks them."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypedDict

from torch import Tensor, dtype

SOFTMAX: int
LOG_SOFTMAX: int
LOGSUMEXP: int
SOFTMAX_BACKWARD: int
LOG_SOFTMAX_BACKWARD: int
LOGSUMEXP_BACKWARD: int

FLOAT32: int
BFLOAT16: int
FLOAT16: int

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
def prepare_direct(
    tensor: type[Tensor],
    float32: dtype,
    empty_like: Callable[[Tensor], Tensor],
    get_num_threads: Callable[[], int],
    forward_ad: ModuleType,
    guards: tuple[Callable[[], Any], ...],
    /,
) -> None: ...
def softmax_direct(x: Tensor, dim: int, out: Tensor | None, /) -> Tensor | None: ...
def advise_huge_pages(start: int, nbytes: int, /) -> bool: ...
def isa() -> str: ...
def use_isa(name: str, /) -> None: ...
def available() -> list[InstructionSet]: ...
def threading() -> str: ...
def thresholds() -> dict[str, int]: ...
def set_threshold(name: str, value: int, /) -> None: ...
