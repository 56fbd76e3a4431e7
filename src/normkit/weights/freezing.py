"""Which part of a network trains: the affine parameters of its normalisers alone, and the conditions to compare with.

Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm", arXiv:2003.00152, sections 3 and 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from normkit.weights.affine import affine_normalizers, affine_parameters
from normkit.weights.bake import bake
from normkit.weights.random_subset import CONVOLUTIONS, random_subset

__all__ = ["CONDITIONS", "Frozen", "freeze", "head_of", "keep_statistics", "keeps_statistics"]

CONDITIONS = (
    "all",
    "affine",
    "affine+output",
    "output",
    "shortcut",
    "shortcut+output",
    "random",
    "no-affine",
)
_SHORTCUTS = {"shortcut", "downsample", "skip", "projection", "proj"}
_MAPS = (nn.Linear, *CONVOLUTIONS)


@dataclass
class Frozen:
    """What trains now, and in what state the parameters were before; as a context manager it gives that back.

    Attributes:
        condition: the name that was asked for.
        trained: elements of every parameter that trains, by name.
        total: elements of all parameters, frozen ones among them.
        head: paths of the output layer's modules, where the condition trains it.
    """

    condition: str
    trained: dict[str, int]
    total: int
    head: tuple[str, ...]
    _before: list[tuple[nn.Parameter, bool]] = field(repr=False)
    _model: nn.Module = field(repr=False)

    @property
    def count(self) -> int:
        """Elements that train."""
        return sum(self.trained.values())

    @property
    def share(self) -> float:
        """Elements that train over all."""
        return self.count / self.total

    def restore(self) -> None:
        """Let train what trained before; weights keep the values that they have now."""
        if self.condition == "random":
            bake(self._model)
        before = {id(parameter): wanted for parameter, wanted in self._before}
        for parameter in self._model.parameters():
            parameter.requires_grad_(before.get(id(parameter), False))  # what was a buffer before did not train

    def __enter__(self) -> "Frozen":
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()


def freeze(
    model: nn.Module,
    condition: str = "affine",
    *,
    head: str | Sequence[str] = "auto",
    names: Sequence[str] | None = None,
    count: int = 2,
    seed: int = 0,
) -> Frozen:
    """Choose what trains, by `requires_grad`; values and modes stay, so running statistics move as they did.

    | condition | trains | frozen |
    |---|---|---|
    | `"all"` | everything | |
    | `"affine"` | γ, β of the normalisers | all weights, the output layer too |
    | `"affine+output"` | γ, β and the output layer | the other weights |
    | `"output"` | the output layer | the rest; γ, β at their values |
    | `"shortcut"`, `"shortcut+output"` | 1×1 convolutions in shortcuts (and the output layer) | the rest |
    | `"random"` | `count` weights of each filter of each convolution | the rest, γ, β too |
    | `"no-affine"` | everything but γ, β (set them with `reinit_affine_(model, "fixed")`) | γ, β |

    Gradients still flow through the frozen maps: less memory is needed for the optimiser and for gradients of weights,
    none is saved on activations. Weight decay on γ, β (1e-4) is part of the paper's recipe.

    Shapes: no parameter changes its own; "random" keeps the trained entries (filters, count) as a parametrisation.
    Source: Frankle et al. 2021, arXiv:2003.00152, sections 3 and 4.

    Args:
        model: any network; changed in place.
        condition: a row of the table.
        head: path or paths of the output layer; "auto" is the last linear map or convolution that is registered.
        names: glob patterns over the paths of the normalisers that count; None takes all.
        count: weights of a filter in "random".
        seed: of their positions.

    Raises:
        ValueError: an unknown condition, no normaliser with affine parameters (names what there is), a `head` that is
            not there, no shortcut with a 1×1 convolution, or no convolution for "random".
    """
    if condition not in CONDITIONS:
        raise ValueError(f"condition is {condition!r}: it must be one of {', '.join(CONDITIONS)}")
    heads = head_of(model, head) if "output" in condition else ()
    affine = affine_normalizers(model, names) if "affine" in condition else {}
    chosen = _chosen(model, condition, affine, heads)
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    if "affine" in condition:
        for normalizer in affine.values():
            _thaw(normalizer)
    total = sum(parameter.numel() for parameter in model.parameters())
    if condition == "random":
        random_subset(model, count, seed=seed)  # refuses, where it does, before anything has changed
        trained = {name for name, parameter in model.named_parameters() if name.endswith("weight.original")}
    else:
        own = affine_parameters(model, names) if "affine" in condition else {}
        trained = _names(model, condition, {id(p) for p in own.values()}, chosen)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters() if name in trained}
    return Frozen(condition, sizes, total, heads, before, model)


def head_of(model: nn.Module, head: str | Sequence[str] = "auto") -> tuple[str, ...]:
    """Paths of the output layer: those that are named, or with "auto" the last map that is registered.

    Raises:
        ValueError: a named module is not there or has no parameters, or there is no map at all.
    """
    if head != "auto":
        paths = (head,) if isinstance(head, str) else tuple(head)
        modules = dict(model.named_modules())
        for path in paths:
            if path not in modules or not any(True for _ in modules[path].parameters()):
                there = ", ".join(name for name, _ in model.named_children())
                raise ValueError(f"head: there is no module {path!r} with parameters; at the top stand {there}")
        return paths
    maps = [path for path, module in model.named_modules() if isinstance(module, _MAPS)]
    if not maps:
        raise ValueError("head: the model has no linear map or convolution that could be its output layer: name it")
    return (maps[-1],)


def keep_statistics(model: nn.Module, keep: bool = True) -> None:
    """Let normalisers with running statistics use and keep them in training too, whatever mode they are set to.

    `keep=False` takes that back. Shapes stay. A network that is fine-tuned on few data is often better off with the
    statistics that it has; where the features are random they must move, as in Frankle et al. 2021, arXiv:2003.00152.
    """
    for module in model.modules():
        if not any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False)):
            continue
        for hooks, own in ((module._forward_pre_hooks, _evaluate), (module._forward_hooks, _as_before)):
            for key in [key for key, hook in hooks.items() if hook is own]:
                del hooks[key]
        module.__dict__.pop(_MODE, None)
        if keep:
            module.register_forward_pre_hook(_evaluate)
            module.register_forward_hook(_as_before)


def keeps_statistics(model: nn.Module) -> bool:
    """Whether `keep_statistics` is in force in the model, whatever its shapes."""
    return any(hook is _evaluate for module in model.modules() for hook in module._forward_pre_hooks.values())


_MODE = "_mode_before_call"


def _evaluate(module: nn.Module, _: Any) -> None:
    module.__dict__[_MODE] = module.training
    module.training = False


def _as_before(module: nn.Module, _: Any, __: Any) -> None:
    module.training = module.__dict__.pop(_MODE, module.training)


def _chosen(
    model: nn.Module, condition: str, affine: dict[str, nn.Module], heads: tuple[str, ...]
) -> tuple[nn.Module, ...]:
    """The modules that train as a whole."""
    modules = dict(model.named_modules())
    chosen = [modules[path] for path in heads]
    if "shortcut" in condition:
        found = [
            module
            for path, module in modules.items()
            if isinstance(module, CONVOLUTIONS)
            and _SHORTCUTS & set(path.split("."))
            and all(size == 1 for size in module.kernel_size)
        ]
        if not found:
            wanted = ", ".join(sorted(_SHORTCUTS))
            raise ValueError(f"{type(model).__name__} has no 1×1 convolution in a module named {wanted}")
        chosen += found
    return tuple(chosen)


def _names(model: nn.Module, condition: str, affine: set[int], chosen: Sequence[nn.Module]) -> set[str]:
    """Names of the parameters that train."""
    own = {id(parameter) for module in chosen for parameter in module.parameters()}
    if condition == "all":
        return {name for name, _ in model.named_parameters()}
    if condition == "no-affine":
        return {name for name, parameter in model.named_parameters() if id(parameter) not in affine}
    wanted = own | affine
    return {name for name, parameter in model.named_parameters() if id(parameter) in wanted}


def _thaw(normalizer: nn.Module) -> None:
    """Make γ and β parameters where they are buffers (`FrozenBatchNorm2d`)."""
    for name in ("weight", "bias"):
        tensor = normalizer._buffers.get(name)
        if isinstance(tensor, torch.Tensor):
            del normalizer._buffers[name]
            normalizer.register_parameter(name, nn.Parameter(tensor))
