"""Norms put into a network whose code does not know them: a block holds the norm, a hook calls it."""

from typing import Any

from torch import Tensor, nn

from normkit.models import TransformerDecoderLayer, TransformerEncoderLayer

__all__ = ["NormedInput", "NormedOutput", "put_input_norm", "put_output_norm"]


class NormedOutput:
    """Forward hook: the norm that `block` holds under `name`, over what the hooked module gives (a tuple's first).

    The norm is looked up by its name at each call, so that it may be replaced like any other module, and the block
    comes along in a deep copy.
    """

    def __init__(self, block: nn.Module, name: str) -> None:
        self.block, self.name = block, name

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        norm = getattr(self.block, self.name)
        return norm(output) if isinstance(output, Tensor) else type(output)((norm(output[0]), *output[1:]))


class NormedInput:
    """Forward pre-hook with keywords: the norm that the hooked block holds under `name`, over its first argument."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, block: nn.Module, args: Any, kwargs: Any) -> Any:
        norm = getattr(block, self.name)
        if args:
            return (norm(args[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: norm(kwargs[first])}


def put_output_norm(block: nn.Module, writer: nn.Module, name: str, norm: nn.Module) -> None:
    """Let `norm`, which `block` holds under `name` from here on, act on what `writer` gives.

    Our own layers have a place for it and call it themselves.
    """
    setattr(block, name, norm.train(block.training))
    if isinstance(block, (TransformerEncoderLayer, TransformerDecoderLayer)):
        block.placement = "peri"
    else:
        writer.register_forward_hook(NormedOutput(block, name))


def put_input_norm(block: nn.Module, name: str, norm: nn.Module) -> None:
    """Let `norm`, which `block` holds under `name` from here on, act on the stream as it enters the block."""
    block.add_module(name, norm.train(block.training))
    block.register_forward_pre_hook(NormedInput(name), with_kwargs=True)
