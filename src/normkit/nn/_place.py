"""Where a layer stands, for an error that must name it: a module does not know its parents."""

import gc

from torch import nn

__all__ = ["place_of"]


def place_of(layer: nn.Module) -> str:
    """The path of `layer` in the outermost module that holds it; empty where none does.

    Looks through all live objects: for the way to an error only. Of several places the last one found is named.
    """
    holders: dict[int, tuple[nn.Module, str]] = {}
    for found in gc.get_objects():
        if issubclass(type(found), nn.Module):  # not isinstance, which lazy objects answer by loading
            holders |= {id(child): (found, name) for name, child in found._modules.items() if child is not None}
    names: list[str] = []
    module = layer
    while id(module) in holders and len(names) < 100:  # a module may hold itself
        module, name = holders[id(module)]
        names.insert(0, name)
    return ".".join(names)
