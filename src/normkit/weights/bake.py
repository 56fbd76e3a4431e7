"""Make what a parametrisation computes the plain weight again."""

from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from normkit.surgery.zero_mean import recentre
from normkit.weights.random_subset import RandomSubset
from normkit.weights.standardized_layers import WSConv1d, WSConv2d, WSConv3d, WSLinear
from normkit.weights.weight_standardization import WeightStandardization
from normkit.weights.zero_mean import ZeroMeanEmbedding, ZeroMeanLinear, ZeroMeanOutput

__all__ = ["bake"]

Module = TypeVar("Module", bound=nn.Module)

_PARAMETRISATIONS = (RandomSubset, WeightStandardization, ZeroMeanOutput)
_PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    WSConv1d: nn.Conv1d,
    WSConv2d: nn.Conv2d,
    WSConv3d: nn.Conv3d,
    WSLinear: nn.Linear,
    ZeroMeanLinear: nn.Linear,
    ZeroMeanEmbedding: nn.Embedding,
}


@torch.no_grad()
def bake(model: Module) -> Module:
    """Give every module inside `model` (itself included) the weight that its normkit parametrisation computes.

    Parametrised modules lose the parametrisation; `WSConv2d` and its kin become the plain torch layer of the same name.
    The function of the network stays the same, its `state_dict` becomes that of plain layers, and the weights train
    freely from then on. Changes the model in place and returns it. Other parametrisations are left alone.

    Shapes: every weight keeps its own. Source: Qiao et al. 2020, arXiv:1903.10520 (the standardised weight is what
    inference needs).
    """
    for module in list(model.modules()):
        _remove_parametrisations(module)
        if type(module) in _PLAIN:
            _make_plain(module)
    return model


def _remove_parametrisations(module: nn.Module) -> None:
    if not parametrize.is_parametrized(module):
        return
    parametrizations: Any = module.parametrizations
    ours = [name for name, steps in parametrizations.items() if all(isinstance(s, _PARAMETRISATIONS) for s in steps)]
    if ours:
        _own_class(module)
    for name in ours:
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _own_class(module: nn.Module) -> None:
    """Part from the class that torch made for the parametrised module and that deep copies of it share.

    torch deletes the parametrised attribute from that class, so that without this the copies would lose theirs.
    """
    shared = type(module)
    content = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, content)


def _make_plain(module: Any) -> None:
    if hasattr(module, "standardized_weight"):
        module.weight.copy_(module.standardized_weight())
        for name in ("variant", "eps", "gain"):
            delattr(module, name)
    else:
        module.weight.copy_(recentre(module.weight, -1 if isinstance(module, nn.Embedding) else 0))
        if getattr(module, "bias", None) is not None:
            module.bias.copy_(recentre(module.bias, 0))
    # The object stays, so that whoever holds it (a parent, a tied place, a hook) holds the plain layer.
    module.__class__ = _PLAIN[type(module)]
