"""torch's fused path of Transformer layers, which reads a norm's parameters and never calls the norm."""

from torch import nn

__all__ = ["close_fast_path", "close_nested_path"]


def close_fast_path(module: nn.Module) -> list[nn.Module]:
    """Make every `nn.TransformerEncoderLayer` in `module` (itself included) call its sub-modules; return those layers.

    In evaluation and without gradients, torch runs such a layer by one fused kernel that takes `norm1.weight`,
    `norm1.bias` and `norm1.eps`: another norm put there would be ignored. The attribute by which the layer tells that
    its activation is known to that kernel is set to "unknown": no hook, nothing in the state dict, copies keep it.
    The encoder's own nested-tensor path, which only pays with the fused layers, is closed with them.
    """
    closed: list[nn.Module] = []
    for found in module.modules():
        if isinstance(found, nn.TransformerEncoderLayer):
            found.activation_relu_or_gelu = 0
            closed.append(found)
        elif isinstance(found, nn.TransformerEncoder):
            found.use_nested_tensor = False
    return closed


def close_nested_path(model: nn.Module, norm: nn.Module) -> None:
    """An encoder around `norm` that hands padded batches to its layers as nested tensors does so no more."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(part is norm for part in module.layers.modules()):
            module.use_nested_tensor = False
