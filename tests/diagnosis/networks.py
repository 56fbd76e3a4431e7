"""Small networks and batches that several tests of this room share."""

from typing import Any

import torch
from torch import Tensor, nn


def convnet(channels: int = 8) -> nn.Sequential:
    """Three convolutions with batch normalisation and ReLU (in place, as users write it), and a head."""
    layers: list[nn.Module] = []
    for inputs in (1, channels, channels):
        layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def images(batch: int, count: int = 4, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Batches of noise pictures with labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, batch, 1, 8, 8, generator=generator)
    return [(each, torch.arange(batch) % 10) for each in x]


def state(model: nn.Module) -> dict[str, Any]:
    """Everything about a model that a diagnosis must leave alone."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    return {
        "parameters": {name: value.detach().clone() for name, value in model.named_parameters()},
        "buffers": {name: value.detach().clone() for name, value in model.named_buffers()},
        "identities": [id(value) for value in (*model.parameters(), *model.buffers())],
        "gradients": {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()},
        "requires_grad": {name: value.requires_grad for name, value in model.named_parameters()},
        "training": {name: module.training for name, module in model.named_modules()},
        "hooks": {(n, h): list(getattr(m, h)) for n, m in model.named_modules() for h in names},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
    }


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two states are equal bit for bit."""
    for part, values in before.items():
        if part not in ("parameters", "buffers", "gradients"):
            if values != after[part]:
                return False
            continue
        for name, value in values.items():
            other = after[part][name]
            if (value is None) != (other is None) or (value is not None and not torch.equal(value, other)):
                return False
    return True
