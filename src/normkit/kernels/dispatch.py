"""One rule which kernel computes an operation, and one way to override it.

An operation (`Op`) names its kernels in order of preference. A call goes to the first one that is switched on and does
not refuse the arguments; the reference is the last and refuses nothing. Three things override that, strongest first:

1. the argument `kernel="name"` of the public function: this one or an error that says why not;
2. `with normkit.kernels.disabled("native"):` in the whole process (backward and loader threads too) while it is open;
3. the environment variable `NORMKIT_DISABLE_KERNELS=native,triton`, read once when normkit is imported.

A kernel is a function of the operation's own arguments in a module of `normkit.kernels`. That module may define
`supports(op, *args, **options)`, which returns None or the reason why this call cannot be done, `prefers` with the same
arguments, which returns None or the reason why the next kernel is quicker for it (asked only where no kernel is named),
and `WHY_NOT`, a text that is empty unless the module can do nothing at all on this machine.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from inspect import signature
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from normkit.listing import modules

__all__ = [
    "Kernel",
    "KernelError",
    "Op",
    "Sample",
    "available",
    "disabled",
    "dispatch",
    "exporting",
    "forward_mode",
    "operations",
    "sample",
    "switched_off",
    "tracing",
]

# How many times each name is switched off; empty when all are on.
switched_off = Counter(filter(None, map(str.strip, os.environ.get("NORMKIT_DISABLE_KERNELS", "").split(","))))
# The same names as a plain global, because torch.compile can guard on it (and cannot trace a ContextVar).
_disabled = frozenset(switched_off)
_switching = Lock()


class KernelError(RuntimeError):
    """A kernel was asked for by name and cannot do this call; the message says why."""


class Sample(NamedTuple):
    """Arguments of one call of an operation, float64 on the CPU; tests cast and move them as they need."""

    args: tuple[Any, ...]
    options: dict[str, Any]


def sample(*args: Any, **options: Any) -> Sample:
    """The arguments of one call, written as the call itself."""
    return Sample(args, options)


@dataclass(frozen=True)
class Kernel:
    """One implementation of one operation, loaded by name on first use."""

    op: str
    name: str
    path: str

    @classmethod
    def named(cls, op: str, entry: str) -> "Kernel":
        """Read `module.function` (the kernel bears the module's name) or `name:module.function`."""
        name, _, path = entry.rpartition(":")
        return cls(op, name or path.partition(".")[0], path)

    @cached_property
    def _module(self) -> Any:
        return import_module(f"normkit.kernels.{self.path.rpartition('.')[0]}")

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The implementation, with the operation's own arguments."""
        return getattr(self._module, self.path.rpartition(".")[2])

    @cached_property
    def writes_out(self) -> bool:
        """Whether the implementation writes into `out=` itself; otherwise its result is copied."""
        return "out" in signature(self.function).parameters

    @cached_property
    def supports(self) -> Callable[..., str | None] | None:
        """The module's judgement of a call, None if it takes every call."""
        return getattr(self._module, "supports", None)

    @cached_property
    def prefers(self) -> Callable[..., str | None] | None:
        """The module's reason to leave a call that it could do to the next kernel, None if it never has one."""
        return getattr(self._module, "prefers", None)

    @cached_property
    def why_not(self) -> str:
        """Why the kernel cannot be used on this machine at all; empty if it can."""
        try:
            self.function  # noqa: B018 (loading is the question)
        except ImportError as error:
            return str(error)
        return getattr(self._module, "WHY_NOT", "")

    def refusal(self, *args: Any, **options: Any) -> str | None:
        """Why this call cannot be done by this kernel, None if it can."""
        return self.why_not or (self.supports(self.op, *args, **options) if self.supports else None)

    def __call__(self, *args: Any, out: Tensor | None = None, **options: Any) -> Any:
        """The result, in `out` if it is given."""
        if out is None:
            return self.function(*args, **options)
        if self.writes_out:
            return self.function(*args, out=out, **options)
        return _into(out, self.function(*args, **options))


@dataclass(frozen=True, eq=False)
class Op:
    """An operation: what it is called, what is true of it, and who can compute it.

    Args:
        name: the public function's name in `normkit.functional`.
        reference: eager torch in any float dtype; the truth that kernels are tested against.
        kernels: implementations, best first: `"module.function"` inside `normkit.kernels`, or `"name:module.function"`.
        by_name: implementations that are taken only when `kernel=` names them (kept for comparison).
        twin: dotted name of the function in torch that takes the same leading arguments, None if there is none.
        samples: makes calls that between them reach every branch, as float64 tensors on the CPU.
    """

    name: str
    reference: Callable[..., Any]
    kernels: tuple[str, ...] = ()
    by_name: tuple[str, ...] = ()
    twin: str | None = None
    samples: Callable[[], Iterator[Sample]] = field(default=lambda: iter(()))
    _candidates: dict[frozenset[str], tuple[Kernel, ...]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _listed(self) -> tuple[Kernel, ...]:
        return tuple(Kernel.named(self.name, entry) for entry in self.kernels)

    @cached_property
    def implementations(self) -> dict[str, Kernel]:
        """All kernels by name in order of preference, those that are taken only by name last; not the reference."""
        by_name = tuple(Kernel.named(self.name, entry) for entry in self.by_name)
        return {kernel.name: kernel for kernel in self._listed + by_name}

    def _load(self, off: frozenset[str]) -> None:
        usable = tuple(kernel for kernel in self._listed if kernel.name not in off and not kernel.why_not)
        for kernel in usable:
            _ = kernel.supports, kernel.prefers, kernel.writes_out
        self._candidates[off] = usable

    # Loading modules and filling caches is done while dynamo traces, not traced by it. This is what
    # `torch.compiler.assume_constant_result` sets, which would import dynamo (two seconds) to set it.
    _load._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def candidates(self, off: frozenset[str]) -> tuple[Kernel, ...]:
        """Kernels that are usable on this machine and not among those switched off, best first."""
        if torch.compiler.is_compiling() or off not in self._candidates:
            self._load(off)
        return self._candidates[off]


def dispatch(op: Op, *args: Any, kernel: str | None = None, out: Tensor | None = None, **options: Any) -> Any:
    """Compute `op` by the best kernel that takes this call, or by the one that `kernel` names.

    Raises:
        ValueError: no kernel bears the name; says which there are.
        KernelError: the named kernel cannot do this call or is switched off; says why.
    """
    if kernel is not None:
        return _forced(op, kernel, *args, out=out, **options)
    for candidate in op.candidates(_disabled):
        supports, prefers = candidate.supports, candidate.prefers
        if supports is not None and supports(op.name, *args, **options) is not None:
            continue
        if prefers is None or prefers(op.name, *args, **options) is None:
            return candidate.function(*args, **options) if out is None else candidate(*args, out=out, **options)
    result = op.reference(*args, **options)
    return result if out is None else _into(out, result)


def _forced(op: Op, name: str, *args: Any, out: Tensor | None, **options: Any) -> Any:
    if name == "reference":
        result = op.reference(*args, **options)
        return result if out is None else _into(out, result)
    if name not in op.implementations:
        known = ", ".join(repr(known) for known in [*op.implementations, "reference"])
        raise ValueError(f"{op.name} has no kernel {name!r}; there are {known}")
    kernel = op.implementations[name]
    reason = "it is switched off" if name in _disabled else kernel.refusal(*args, **options)
    if reason:
        raise KernelError(f"kernel {name!r} cannot compute this {op.name}: {reason}")
    return kernel(*args, out=out, **options)


def _into(out: Tensor, result: Any) -> Any:
    """Copy the result, or the first of several, into `out`."""
    if isinstance(result, tuple):
        return (out.copy_(result[0]), *result[1:])
    return out.copy_(result)


@contextmanager
def disabled(*names: str) -> Iterator[None]:
    """Switch kernels off by name (`"native"`, `"torch"`, …) while the block runs, for the whole process.

    Raises:
        ValueError: `names` has "reference", which is what remains when all else is off.
    """
    if "reference" in names:
        raise ValueError("the reference cannot be switched off: it is what remains when all other kernels are off")
    _switch(dict.fromkeys(names, 1))
    try:
        yield
    finally:
        _switch(dict.fromkeys(names, -1))


def _switch(change: dict[str, int]) -> None:
    global _disabled
    with _switching:
        switched_off.update(change)
        for name in [name for name, times in switched_off.items() if times == 0]:
            del switched_off[name]
        _disabled = frozenset(switched_off)


def operations() -> dict[str, Op]:
    """Every operation by name, found by listing `normkit.functional`."""
    found = (value for module in modules("normkit.functional") for value in vars(module).values())
    return dict(sorted((op.name, op) for op in found if isinstance(op, Op)))


def available() -> list[dict[str, Any]]:
    """One row per kernel and operation: `kernel`, `op`, `usable`, `reason` (empty where usable)."""
    off = _disabled
    rows: list[dict[str, Any]] = []
    for op in operations().values():
        for kernel in op.implementations.values():
            reason = "switched off" if kernel.name in off else kernel.why_not
            rows.append({"kernel": kernel.name, "op": op.name, "usable": not reason, "reason": reason})
        rows.append({"kernel": "reference", "op": op.name, "usable": True, "reason": ""})
    return rows


def tracing() -> bool:
    """Whether a call is being recorded or transformed (compile, export, vmap, grad, FakeTensor), not simply computed.

    Raw pointers have no meaning then: kernels outside of torch must be reached through a registered operator.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._is_tracing()
    )


def exporting() -> bool:
    """Whether the call is being exported: what comes out must run without normkit, by torch's operators alone."""
    return bool(_exporting())


_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)


def forward_mode() -> bool:
    """Whether derivatives are being pushed forward: by dual numbers, or by `torch.func.jvp` and kin."""
    functorch = torch._C._functorch
    if functorch.peek_interpreter_stack() is None:
        return forward_ad._current_level >= 0
    return any(level.key() == functorch.TransformType.Jvp for level in functorch.get_interpreter_stack() or ())
