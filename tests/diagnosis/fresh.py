"""Freshly initialised networks as their libraries build them: what a user meets on the first try.

`python -m tests.diagnosis.fresh` prints how often each probe says `act` on them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from normkit.models import MLP, PlainConvNet, RecurrentClassifier, ResNet, Transformer, resnet

Network = tuple[nn.Module, list[Any]]

TEXT = {
    "GPT2LMHeadModel": ("GPT2Config", {"n_embd": 64, "n_layer": 4, "n_head": 4}),
    "GPTNeoXForCausalLM": ("GPTNeoXConfig", {}),
    "OPTForCausalLM": ("OPTConfig", {"ffn_dim": 128, "word_embed_proj_dim": 64}),
    "LlamaForCausalLM": ("LlamaConfig", {}),
    "MistralForCausalLM": ("MistralConfig", {"num_key_value_heads": 2}),
    "Gemma2ForCausalLM": ("Gemma2Config", {"head_dim": 16, "num_key_value_heads": 2}),
    "Olmo2ForCausalLM": ("Olmo2Config", {}),
    "BertForMaskedLM": ("BertConfig", {}),
    "RobertaForMaskedLM": ("RobertaConfig", {}),
    "DistilBertForMaskedLM": ("DistilBertConfig", {"dim": 64, "n_layers": 4, "n_heads": 4, "hidden_dim": 128}),
    "BloomForCausalLM": ("BloomConfig", {"n_layer": 4, "n_head": 4}),
}
IMAGES = {
    "ViTForImageClassification": ("ViTConfig", {"image_size": 32, "patch_size": 8}),
    "DeiTForImageClassification": ("DeiTConfig", {"image_size": 32, "patch_size": 8}),
    "Dinov2ForImageClassification": ("Dinov2Config", {"image_size": 32, "patch_size": 8}),
    "ConvNextForImageClassification": ("ConvNextConfig", {"hidden_sizes": [16, 32, 48, 64], "depths": [2, 2, 2, 2]}),
    "ResNetForImageClassification": (
        "ResNetConfig",
        {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [2, 2], "layer_type": "basic"},
    ),
    "RegNetForImageClassification": (
        "RegNetConfig",
        {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2], "groups_width": 8},
    ),
    "MobileNetV2ForImageClassification": ("MobileNetV2Config", {"depth_multiplier": 0.35, "image_size": 32}),
}
_SMALL = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}


def fresh() -> Iterator[tuple[str, Callable[[], Network]]]:
    """Name and builder of every network."""
    for name, (config, options) in TEXT.items():
        yield name, lambda name=name, config=config, options=options: _text(name, config, options)
    for name, (config, options) in IMAGES.items():
        yield name, lambda name=name, config=config, options=options: _image(name, config, options)
    yield "nn.TransformerEncoder, norm_first", lambda: (_encoder(True), [torch.randn(8, 16, 64) for _ in range(4)])
    yield "nn.TransformerEncoder", lambda: (_encoder(False), [torch.randn(8, 16, 64) for _ in range(4)])
    yield "PlainConvNet", lambda: (PlainConvNet(in_channels=3), _pictures())
    yield (
        "PlainConvNet, GroupNorm",
        lambda: (
            PlainConvNet(lambda channels: nn.GroupNorm(4, channels), in_channels=3),
            _pictures(),
        ),
    )
    yield "ResNet, pre-activation", lambda: (ResNet(in_channels=3), _pictures())
    yield "resnet", lambda: (resnet(), _pictures())
    yield (
        "MLP, BatchNorm1d, batch 256",
        lambda: (
            MLP([32, 64, 64, 10], norm=nn.BatchNorm1d),
            [(torch.randn(256, 32), torch.arange(256) % 10) for _ in range(4)],
        ),
    )
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        yield f"nn.{kind.__name__}", lambda kind=kind: (RecurrentClassifier(kind(8, 64, batch_first=True)), _series())
    yield "Transformer, peri", lambda: (Transformer(100, 64, 4, 4, placement="peri"), _tokens(named=False))


def _transformers() -> Any:
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers


def _options(config: type, options: dict[str, Any]) -> dict[str, Any]:
    """The small sizes that this configuration knows, under the names that it has for them."""
    known = config().to_dict()
    return {**{name: value for name, value in _SMALL.items() if name in known and name not in options}, **options}


def _text(name: str, config: str, options: dict[str, Any]) -> Network:
    library = _transformers()
    kind = getattr(library, config)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    made = kind(**{**_options(kind, options), "vocab_size": 100, **special})
    return getattr(library, name)(made), _tokens(named=True)


def _image(name: str, config: str, options: dict[str, Any]) -> Network:
    library = _transformers()
    kind = getattr(library, config)
    model = getattr(library, name)(kind(**_options(kind, options), num_labels=10))
    return model, [{"pixel_values": x, "labels": y} for x, y in _pictures()]


def _tokens(*, named: bool) -> list[Any]:
    ids = torch.randint(3, 100, (4, 8, 24))
    return [{"input_ids": each, "labels": each} if named else (each[:, :-1], each[:, 1:]) for each in ids]


def _pictures() -> list[Any]:
    """Smooth noise: neighbouring pixels are alike, as in pictures, and labels are arbitrary."""
    coarse = torch.randn(4, 32, 3, 8, 8)
    return [(nn.functional.interpolate(x, size=32, mode="bilinear"), torch.arange(32) % 10) for x in coarse]


def _series() -> list[Any]:
    return [(each, torch.arange(32) % 10) for each in torch.randn(4, 32, 20, 8)]


def _encoder(norm_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, 4, norm=nn.LayerNorm(64), enable_nested_tensor=False)


def main() -> None:
    """Print the table."""
    from normkit.diagnosis import diagnose, probes

    counts = dict.fromkeys(probes(), 0)
    names = 0
    for name, build in fresh():
        torch.manual_seed(0)
        model, batches = build()
        diagnosis = diagnose(model, batches)
        said = [(finding.probe, finding.severity, round(finding.figure, 3)) for finding in diagnosis.findings]
        print(f"{name}: {said}")
        names += 1
        for finding in diagnosis.findings:
            counts[finding.probe] += finding.severity == "act"
    for slug, count in counts.items():
        print(f"{slug}: act on {count} of {names}")


if __name__ == "__main__":
    main()
