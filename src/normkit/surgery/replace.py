"""Put another module where one stood."""

from torch import nn

from normkit.surgery.find import paths, submodule

__all__ = ["replace"]

# The dictionaries themselves move, not copies of them: the handles that a user keeps refer to these objects.
_HOOKS = tuple(name for name in vars(nn.Module()) if name.endswith(("_hooks", "_with_kwargs", "_always_called")))


def replace(model: nn.Module, path: str, new: nn.Module) -> nn.Module:
    """Put `new` at `path` and wherever else in `model` the old module stands; give `new` back.

    A shared module stays shared. The old module's hooks and its training mode go over to `new`; dtype and device
    of `new` are the caller's business.

    Raises:
        ValueError: nothing stands at `path`, or `path` is `""` (a model cannot replace itself).
    """
    if not path:
        raise ValueError("the model itself cannot be replaced inside itself: use the new module instead of it")
    old = submodule(model, path)
    if new is old:
        return new
    for place in paths(model, old):
        parent, _, name = place.rpartition(".")
        setattr(submodule(model, parent), name, new)
    for name in _HOOKS:
        if vars(old).get(name) and not vars(new).get(name):
            setattr(new, name, vars(old)[name])
    return new.train(old.training)
