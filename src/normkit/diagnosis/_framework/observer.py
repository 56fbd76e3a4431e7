"""Let probes watch a model run: hooks on modules, and a dispatch mode for single operations."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from normkit.diagnosis._framework.context import Context, tensor_in
from normkit.diagnosis._framework.probe import Mode, ModuleProbe

__all__ = ["Observer"]


class Observer:
    """Hooks of `probes` on the modules of a model; they see only what runs inside `watching`.

    Use as a context manager: the hooks are removed at its end.
    """

    def __init__(self, context: Context, probes: Sequence[ModuleProbe]) -> None:
        self.context, self.probes = context, probes
        self.modes: dict[ModuleProbe, Mode] = {probe: probe.mode(context) for probe in probes}
        self._active: Sequence[ModuleProbe] = ()
        self._calls: Counter[tuple[Any, str]] = Counter()
        self._running: list[tuple[str, nn.Module]] = []
        self._handles: list[Any] = []
        self._busy = False

    def __enter__(self) -> "Observer":
        try:
            for path, module in self.context.model.named_modules():
                self._hook(path, module)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def watches(self, mode: Mode) -> bool:
        """Whether any probe wants to see the model in this mode."""
        return mode in self.modes.values()

    def forget(self, mode: Mode) -> None:
        """Drop what the probes of this mode have added up: the pass broke off half-way."""
        for probe in self.probes:
            if self.modes[probe] == mode:
                probe.places.clear()

    @contextmanager
    def watching(self, mode: Mode | None) -> Iterator[None]:
        """The probes of `mode` (None: all of them) see the forward pass inside."""
        self._active = [probe for probe in self.probes if mode is None or self.modes[probe] == mode]
        self._calls.clear()
        self._running.clear()
        operations = [probe for probe in self._active if probe.operations]
        try:
            with ExitStack() as stack:
                if operations:
                    stack.enter_context(_Operations(self, operations))
                yield
        finally:
            self._active = ()

    def _hook(self, path: str, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            return  # takes no hook with keyword arguments; what it contains cannot be seen
        watchers = [probe for probe in self.probes if probe.applies(module)]
        if any(probe.operations for probe in self.probes):
            enter = module.register_forward_pre_hook(partial(self._enter, path))
            leave = module.register_forward_hook(self._leave, always_call=True)
            self._handles += [enter, leave]
        if watchers:
            seen = module.register_forward_hook(partial(self._see, path, watchers), with_kwargs=True)
            self._handles.append(seen)

    def _enter(self, path: str, module: nn.Module, args: Any) -> None:
        if self._active and not self._busy:
            self._running.append((path, module))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._running and self._running[-1][1] is module and not self._busy:
            self._running.pop()

    def _see(
        self, path: str, watchers: Sequence[ModuleProbe], module: nn.Module, args: Any, kwargs: Any, output: Any
    ) -> None:
        active = [probe for probe in watchers if probe in self._active]
        if not active or self._busy:
            return
        given, made = tensor_in((args, kwargs)), tensor_in(output)
        if given is None or made is None:
            return
        for probe in active:
            place = probe.place(path, module, self._number((probe, path)))
            place.arguments = (args, kwargs)
            self.quietly(partial(probe.watch, place, given, made), given.device)
            place.arguments = ((), {})

    def _number(self, key: tuple[Any, str]) -> int:
        self._calls[key] += 1
        return self._calls[key]

    def quietly(self, watch: Callable[[], None], device: torch.device) -> None:
        """Let a probe compute: no gradient, no autocast, and nothing that it runs itself is watched."""
        busy, self._busy = self._busy, True
        try:
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                watch()
        finally:
            self._busy = busy

    @property
    def busy(self) -> bool:
        """Whether a probe is computing at this moment."""
        return self._busy

    def innermost(self) -> tuple[str, nn.Module]:
        """The module that is running: its path and itself; outside of all modules that is the loss."""
        return self._running[-1] if self._running else ("(loss)", self.context.model)


class _Operations(TorchDispatchMode):
    """Shows the operations that run to the probes that asked for them."""

    def __init__(self, observer: Observer, probes: Sequence[ModuleProbe]) -> None:
        super().__init__()
        self.observer = observer
        self.wanted = {name: [probe for probe in probes if name in probe.operations] for probe in probes
                       for name in probe.operations}  # fmt: skip

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        probes = self.wanted.get(name, ())
        if not probes or self.observer.busy:
            return func(*args, **(kwargs or {}))
        path, module = self.observer.innermost()
        places = [probe.place(path, module, self.observer._number((probe, f"{path}:{name}"))) for probe in probes]
        for probe, place in zip(probes, places, strict=True):
            self.observer.quietly(partial(probe.before_operation, place, name, args), args[0].device)
        output = func(*args, **(kwargs or {}))
        for probe, place in zip(probes, places, strict=True):
            self.observer.quietly(partial(probe.watch_operation, place, name, args, output), args[0].device)
        return output
