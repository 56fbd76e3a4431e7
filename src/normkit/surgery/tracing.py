"""Record the data flow of a network: by running it on an example, or by torch.fx where none is given."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from normkit.surgery.flow import LAYERS, Flow, Step, canonical_paths, is_leaf

__all__ = ["call", "trace"]


def call(model: nn.Module, example: Any) -> Any:
    """`model(example)`; a tuple is taken as positional arguments, a mapping as keyword arguments."""
    arguments, keywords = arguments_of(example)
    return model(*arguments, **keywords)


def arguments_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as positional and keyword arguments."""
    if isinstance(example, Mapping):
        return (), {str(name): value for name, value in example.items()}
    if isinstance(example, tuple):
        return example, {}
    return (example,), {}


def trace(model: nn.Module, example: Any = None) -> Flow:
    """The data flow of `model`'s forward pass.

    With an `example` (a tensor, a tuple, or a mapping of keyword arguments) the model runs once, as it is and without
    gradients, under observation: what is seen is what happens, also through control flow that torch.fx cannot follow.
    Mode and random state are the caller's. Without one, torch.fx traces it symbolically.

    Raises:
        ValueError: no example is given and torch.fx cannot trace the model; the message names the obstacle.
    """
    return _observed(model, example) if example is not None else _symbolic(model)


class _Recorder(TorchFunctionMode):
    """Adds a step for every leaf module and for every torch function called outside one."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.producer: dict[int, int] = {}
        self.kept: list[Tensor] = []  # an id is only an identity while the tensor lives
        self.callers: list[str] = [""]
        self.depth = 0
        self.within: _Recorder | None = None  # of the leaf that runs, where it is looked into

    def add(self, step: Step, made: Any) -> None:
        self.steps.append(replace(step, shapes=tuple(tuple(tensor.shape) for tensor in tensors(made))))
        for tensor in tensors(made):
            self.producer[id(tensor)] = step.index
            self.kept.append(tensor)

    def reads(self, *values: Any) -> tuple[int, ...]:
        found = [self.producer.get(id(tensor)) for tensor in tensors(values)]
        return tuple(dict.fromkeys(index for index in found if index is not None))

    def sources(self, args: Any, kwargs: Any) -> dict[str | int, int]:
        named = [*enumerate(args), *kwargs.items()]
        found = {key: self.producer.get(id(value)) for key, value in named if isinstance(value, Tensor)}
        return {key: index for key, index in found.items() if index is not None}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        recorder = self.within if self.depth else self
        if recorder is not None:
            recorder.note(func, args, kwargs, made)
        return made

    def note(self, func: Any, args: Any, kwargs: Any, made: Any) -> None:
        reads = self.reads(args, kwargs)
        written = args[0] if func is Tensor.__setitem__ else made
        if any(True for _ in tensors(written)):
            name = (resolve_name(func) or getattr(func, "__name__", str(func))).rpartition(".")[2]
            options = {
                key: value for key, value in [*enumerate(args), *kwargs.items()] if not isinstance(value, Tensor)
            }
            step = Step(len(self.steps), "function", name, "", self.callers[-1], reads, func, options)
            self.add(step, written)

    def enter(self, args: Any, kwargs: Any) -> None:
        """Look into the leaf that begins to run."""
        self.within = _Recorder()
        for value in tensors((args, kwargs)):
            self.within.add(Step(len(self.within.steps), "input", "input"), value)

    def leave(self) -> tuple[Step, ...]:
        """What was seen inside the leaf that has run."""
        seen, self.within = self.within, None
        return () if seen is None else tuple(seen.steps)


def _observed(model: nn.Module, example: Any) -> Flow:
    recorder = _Recorder()
    arguments, keywords = arguments_of(example)
    for name, value in [*zip(signature(model.forward).parameters, arguments, strict=False), *keywords.items()]:
        recorder.add(Step(len(recorder.steps), "input", name), value)
    handles = [handle for path, module in model.named_modules() for handle in _watch(recorder, path, module)]
    try:
        with torch.no_grad(), recorder:
            output = model(*arguments, **keywords)
    finally:
        for handle in handles:
            handle.remove()
    recorder.add(Step(len(recorder.steps), "output", "output", reads=recorder.reads(output)), None)
    return Flow(tuple(recorder.steps), canonical_paths(model))


def _watch(recorder: _Recorder, path: str, module: nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
    if isinstance(module, torch.jit.ScriptModule):  # it takes no hooks
        return
    leaf, opened = is_leaf(module), _is_opened(module)
    entered: list[tuple[tuple[int, ...], dict[str | int, int]]] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        if leaf:
            entered.append((recorder.reads(args, kwargs), recorder.sources(args, kwargs)))
            if opened and not recorder.depth:
                recorder.enter(args, kwargs)
            recorder.depth += 1
        else:
            recorder.callers.append(path)

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not leaf:
            recorder.callers.pop()
            return
        recorder.depth -= 1
        reads, sources = entered.pop()
        if not recorder.depth:
            caller, name, inside = recorder.callers[-1], type(module).__name__, recorder.leave()
            step = Step(len(recorder.steps), "module", name, path, caller, reads, sources=sources, inside=inside)
            recorder.add(step, output)

    yield module.register_forward_pre_hook(before, with_kwargs=True)
    yield module.register_forward_hook(after, prepend=True, with_kwargs=True)  # what other hooks do is seen as well


def _is_opened(module: nn.Module) -> bool:
    """Whether the functions that a leaf calls are recorded: what else says whether it normalises?"""
    own = type(module).__module__.startswith(("torch.", "normkit."))
    return not own and all(parameter.ndim <= 1 for parameter in module.parameters())


class _Tracer(torch.fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_leaf(m) or isinstance(m, LAYERS)


def _symbolic(model: nn.Module) -> Flow:
    if is_leaf(model):
        return Flow((), canonical_paths(model))
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # torch.fx raises whatever the traced code raises on a proxy
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"torch.fx cannot trace {type(model).__name__} ({reason}): pass example=… so that it can be run instead"
        ) from error
    canonical = canonical_paths(model)
    places = {node: index for index, node in enumerate(graph.nodes)}
    return Flow(tuple(_step(node, places, canonical) for node in graph.nodes), canonical)


def _step(node: torch.fx.Node, places: dict[torch.fx.Node, int], canonical: dict[str, str]) -> Step:
    reads = tuple(places[read] for read in node.all_input_nodes)
    stack = list(node.meta.get("nn_module_stack", {}).values())  # (path, class) from the model down to the call
    if node.op == "call_module":
        path = canonical[str(node.target)]
        caller = stack[-2][0] if len(stack) > 1 else ""
        given: list[tuple[str | int, Any]] = [*enumerate(node.args), *node.kwargs.items()]
        sources = {key: places[value] for key, value in given if isinstance(value, torch.fx.Node)}
        return Step(places[node], "module", stack[-1][1].__name__, path, caller, reads, sources=sources)
    if node.op in ("placeholder", "output"):
        return Step(places[node], "input" if node.op == "placeholder" else "output", str(node.target), reads=reads)
    function: Callable[..., Any] | None = node.target if callable(node.target) else None
    if node.op == "call_method":
        function = getattr(Tensor, str(node.target), None)
    name = getattr(function, "__name__", str(node.target))
    options: dict[str | int, Any] = {
        key: value
        for key, value in [*enumerate(node.args), *node.kwargs.items()]
        if not isinstance(value, torch.fx.Node)
    }
    return Step(places[node], "function", name, "", stack[-1][0] if stack else "", reads, function, options)


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor inside nested tuples, lists, mappings and Hugging Face outputs."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
