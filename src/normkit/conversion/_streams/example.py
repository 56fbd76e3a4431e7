"""Inputs for transformers that say themselves what they take."""

from typing import Any

import torch
from torch import nn

from normkit.models import Transformer

__all__ = ["example"]


def example(model: nn.Module, seed: int) -> Any:
    """Random tokens (2, L ≤ 16) for a language model, or vectors (2, 8, d) for an encoder; None for other models."""
    generator = torch.Generator().manual_seed(seed)
    config: Any = getattr(model, "config", None)
    if type(model).__module__.startswith("transformers.") and hasattr(config, "vocab_size"):
        length = min(16, int(getattr(config, "max_position_embeddings", 16)))
        tokens = torch.randint(0, int(config.vocab_size), (2, length), generator=generator)
        return {"input_ids": tokens}
    if isinstance(model, Transformer):
        length = 16 if model.position is None else min(16, model.position.num_embeddings)
        return torch.randint(0, model.embed.num_embeddings, (2, length), generator=generator)
    if isinstance(model, nn.TransformerEncoder):
        weight = next(model.parameters(), None)
        width = model.layers[0].linear2.out_features if len(model.layers) else 0
        return None if weight is None else torch.randn(2, 8, width, generator=generator).to(weight.dtype)
    return None
