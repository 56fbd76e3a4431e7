"""Take one call out of a module's `forward`, where no module can be replaced for it."""

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from normkit.surgery.activations import is_activation
from normkit.surgery.find import submodule

__all__ = ["bypass"]


def bypass(model: nn.Module, caller: str, path: str) -> None:
    """Rewrite the `forward` of the module at `caller` so that the activation that reads the module `path` is left out.

    It serves activations that are functions (`F.relu(self.bn(x))`) or modules that are shared by several places
    (`self.relu`). torch.fx traces that one `forward`, with every sub-module opaque; the class of the instance becomes
    a subclass of its own, so `isinstance`, attributes, state dict, hooks and other methods stay as they are. It can be
    copied and pickled as before. A `torch.fx.GraphModule` gets the new graph.

    Raises:
        ValueError: `forward` takes optional arguments, depends on `training`, or cannot be traced; or no single
            activation reads the output. Nothing has been changed then.
    """
    parent = submodule(model, caller)
    inner = path[len(caller) + 1 :] if caller else path
    graph = _traced(parent, inner)
    norm = _only([node for node in graph.nodes if node.op == "call_module" and node.target == inner], inner, "call")
    reader = _only(list(norm.users), inner, "reader")
    if not _is_activation(parent, reader):
        raise ValueError(f"what reads {path!r} is no activation: {reader.format_node()}")
    reader.replace_all_uses_with(norm)
    graph.erase_node(reader)
    graph.lint()
    _adopt(parent, graph)


def _only(nodes: list[torch.fx.Node], path: str, what: str) -> torch.fx.Node:
    if len(nodes) != 1:
        raise ValueError(f"{path!r} has {len(nodes)} {what}s where it takes exactly one")
    return nodes[0]


def _is_activation(parent: nn.Module, node: torch.fx.Node) -> bool:
    if node.op == "call_module":
        return is_activation(submodule(parent, str(node.target)))
    if node.op == "call_method":
        return is_activation(getattr(Tensor, str(node.target), None))
    return node.op == "call_function" and callable(node.target) and is_activation(node.target)


class _Tracer(torch.fx.Tracer):
    """Looks only into the containers on the way to one module."""

    def __init__(self, inner: str) -> None:
        super().__init__()
        self.inner = inner

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not self.inner.startswith(f"{module_qualified_name}.")


def _traced(parent: nn.Module, inner: str) -> torch.fx.Graph:
    name = f"{type(parent).__name__}.forward"
    mode = parent.training
    graphs = []
    try:
        for training in (True, False):
            parent.training = training  # of this module alone: its `forward` is what is traced
            graphs.append(_Tracer(inner).trace(parent))
    except Exception as error:  # torch.fx raises whatever the traced code raises on a proxy
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"torch.fx cannot trace {name}: {reason}") from error
    finally:
        parent.training = mode
    if graphs[0].python_code("self").src != graphs[1].python_code("self").src:
        raise ValueError(f"{name} depends on `training`, which a rewritten forward could not follow")
    if any(node.op == "placeholder" and (node.args or str(node.target).startswith("*")) for node in graphs[0].nodes):
        raise ValueError(f"{name} takes optional arguments, which a rewritten forward would fix at their defaults")
    return graphs[0]


def _adopt(parent: nn.Module, graph: torch.fx.Graph) -> None:
    """Give `parent`, and nobody else, the forward that `graph` describes."""
    if isinstance(parent, torch.fx.GraphModule):  # it is made of its graph, and copied and pickled by it
        parent.graph = graph
        return
    earlier = vars(type(parent)).get("_rewritten")
    kind = earlier.kind if isinstance(earlier, _Rewritten) else type(parent)
    code = graph.python_code("self")
    modules = {alias: value.__name__ for alias, value in code.globals.items() if isinstance(value, ModuleType)}
    others = {alias: value for alias, value in code.globals.items() if alias not in modules}
    parent.__class__ = _Rewritten(kind, code.src, modules, others).adopted


@dataclass(frozen=True, eq=False)
class _Rewritten:
    """A class with another `forward`, as data: a class made at run time cannot be pickled, what it is made of can.

    Attributes:
        kind: the class as it was.
        source: the text of `forward`.
        modules: aliases in the text, and the Python modules that they stand for.
        others: aliases in the text, and the objects that they stand for.
    """

    kind: type[nn.Module]
    source: str
    modules: dict[str, str]
    others: dict[str, Any]

    @cached_property
    def adopted(self) -> type[nn.Module]:
        """The class, made once."""
        rewritten, kind = self, self.kind

        def reduced(module: nn.Module, protocol: int) -> str | tuple[Any, ...]:
            made = kind.__reduce_ex__(module, protocol)
            if isinstance(made, str):  # the name of a global, by which its class wants it found
                return made
            function, arguments, *rest = made
            plain = tuple(kind if argument is type(module) else argument for argument in arguments)
            return (_rebuilt, (rewritten, function, plain), *rest)

        inside = {"forward": self._forward(), "__reduce_ex__": reduced, "_rewritten": self}
        return type(kind.__name__, (kind,), {**inside, "__module__": kind.__module__})

    def _forward(self) -> Any:
        names = {alias: import_module(name) for alias, name in self.modules.items()} | self.others
        place = f"<forward of {self.kind.__name__}, rewritten by normkit, {id(self)}>"
        lines = self.source.splitlines(keepends=True)
        linecache.cache[place] = (len(self.source), None, lines, place)  # so that tracebacks show it
        exec(compile(self.source, place, "exec"), names)
        return names["forward"]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.source, self.modules, self.others)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Rewritten":
        return self


def _rebuilt(rewritten: _Rewritten, function: Callable[..., nn.Module], arguments: tuple[Any, ...]) -> nn.Module:
    """A module of the class as it was, made as pickle makes it, then given its new class."""
    module = function(*arguments)
    module.__class__ = rewritten.adopted
    return module
