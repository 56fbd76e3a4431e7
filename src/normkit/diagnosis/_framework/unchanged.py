"""Leave everything as it was, whatever happens inside: the model bit for bit, the generators, torch's switches."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["buffers_kept", "mode", "unchanged"]


@contextmanager
def unchanged(model: nn.Module, data: Any = None, seed: int = 0) -> Iterator[None]:
    """Inside, the generators start at `seed` and the model may be run in any mode; afterwards all is as before.

    That is: parameters, buffers, gradients, `requires_grad`, training flags, hooks and every other plain attribute of
    every module; the global generators of torch (CPU and accelerators in use), numpy and random and the loader's own
    one; the grad mode and the fused paths of `nn.TransformerEncoderLayer`, which are off inside, since they call no
    module and so no hook. This holds too when the block raises or is interrupted. Costs one copy of the parameters,
    gradients and buffers that exist.
    """
    modules = [(module, _Attributes(module)) for module in model.modules()]
    tensors = [_TensorState(tensor) for tensor in _tensors(model)]
    generators = _Generators(data)
    grad, fast_path = torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled()
    try:
        generators.seed(seed)
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch.set_grad_enabled(grad)
        for module, attributes in modules:
            attributes.restore(module)
        for state in tensors:
            state.restore()
        generators.restore()


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Training or evaluation mode inside; afterwards every module is in the mode that it was in.

    A model that comes in training mode keeps the modules that its owner froze (`training` False) frozen.
    """
    flags = [(module, module.training) for module in model.modules()]
    if not (training and model.training):
        model.train(training)
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Running statistics move inside and are put back afterwards, so that one pass does not change the next."""
    kept = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.data.copy_(value)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


class _Attributes:
    """The attributes of one module: which objects they are, and what its own dictionaries (hooks, parts) hold."""

    def __init__(self, module: nn.Module) -> None:
        self.own = dict(vars(module))
        self.inner = {name: value.copy() for name, value in self.own.items() if isinstance(value, dict)}

    def restore(self, module: nn.Module) -> None:
        attributes = vars(module)
        attributes.clear()
        attributes.update(self.own)
        for name, kept in self.inner.items():
            held = attributes[name]
            if [(key, id(value)) for key, value in held.items()] != [(key, id(value)) for key, value in kept.items()]:
                held.clear()
                held.update(kept)


class _TensorState:
    """Value, gradient and `requires_grad` of one parameter or buffer."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.value, self.version = tensor, tensor.detach().clone(), tensor._version
        self.requires_grad, self.grad = tensor.requires_grad, tensor.grad if tensor.is_leaf else None
        self.grad_value = None if self.grad is None else self.grad.detach().clone()

    def restore(self) -> None:
        tensor = self.tensor
        if tensor._version != self.version or not torch.equal(tensor.detach(), self.value):
            tensor.data.copy_(self.value)
        if not tensor.is_leaf:
            return
        if tensor.requires_grad != self.requires_grad:
            tensor.requires_grad_(self.requires_grad)
        tensor.grad = self.grad
        if self.grad is not None and self.grad_value is not None:
            self.grad.data.copy_(self.grad_value)


class _Generators:
    """The states of every generator that a forward pass or a loader may draw from."""

    def __init__(self, data: Any) -> None:
        self.cpu = torch.get_rng_state()
        used = torch.cuda.is_available() and torch.cuda.is_initialized()
        self.cuda = torch.cuda.get_rng_state_all() if used else None
        self.numpy, self.python = np.random.get_state(), random.getstate()
        self.own = [(generator, generator.get_state()) for generator in _generators_of(data)]

    def seed(self, seed: int) -> None:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
        for generator, state in self.own:
            generator.set_state(state)


def _generators_of(data: Any) -> Iterable[torch.Generator]:
    holders = (data, getattr(data, "sampler", None), getattr(getattr(data, "batch_sampler", None), "sampler", None))
    found = [getattr(holder, "generator", None) for holder in holders]
    return {id(each): each for each in found if isinstance(each, torch.Generator)}.values()
