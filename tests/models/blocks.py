"""Small networks of other libraries' kinds: what is read, described and converted in the tests of several rooms."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["VisionTransformer", "hugging_face"]

_SMALL = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_WIDE = {**_SMALL, "intermediate_size": 32}
_IMAGES = {**_WIDE, "image_size": 16, "patch_size": 8}
_MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Bert": ("BertForMaskedLM", "BertConfig", _WIDE),
    "Bloom": ("BloomForCausalLM", "BloomConfig", {"vocab_size": 40, "hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "DINOv2": ("Dinov2Model", "Dinov2Config", _IMAGES),
    "Gemma2": ("Gemma2ForCausalLM", "Gemma2Config", {**_WIDE, "num_key_value_heads": 2, "head_dim": 8}),
    "GPT2": ("GPT2LMHeadModel", "GPT2Config", {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2}),
    "GPTNeoX": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _WIDE),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", _WIDE),
    "Olmo2": ("Olmo2ForCausalLM", "Olmo2Config", _WIDE),
    "OPT": ("OPTForCausalLM", "OPTConfig", {**_SMALL, "ffn_dim": 32, "word_embed_proj_dim": 16}),
    "Phi": ("PhiForCausalLM", "PhiConfig", _WIDE),
    "StableLM": ("StableLmForCausalLM", "StableLmConfig", {**_WIDE, "num_key_value_heads": 2}),
    "ViT": ("ViTModel", "ViTConfig", _IMAGES),
}


def hugging_face(name: str, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """A tiny model of that family with random weights, in evaluation mode, and an input that it takes."""
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    model, config, settings = _MODELS[name]
    known = getattr(transformers, config)()
    settings = {key: value for key, value in settings.items() if hasattr(known, key)}
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2} if "vocab_size" in settings else {}
    built = getattr(transformers, model)(getattr(transformers, config)(**{**settings, **special, **options})).eval()
    if "image_size" in settings:
        return built, {"pixel_values": torch.randn(2, 3, 16, 16)}
    return built, {"input_ids": torch.randint(3, 40, (2, 7))}


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(batch, length, width)))


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class LayerScale(nn.Module):
    """x · γ, a factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1, self.drop_path1 = (
            nn.LayerNorm(width),
            _Attention(width, 2),
            LayerScale(width),
            nn.Identity(),
        )
        self.norm2, self.mlp, self.ls2, self.drop_path2 = (
            nn.LayerNorm(width),
            _Mlp(width),
            LayerScale(width),
            nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, pre-norm blocks with layer scale, a final norm and a head, as timm has it."""

    def __init__(self, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, width))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])
