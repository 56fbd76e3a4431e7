"""The four placements against loops written out by hand: logits, loss, gradients, and the stream's statistics."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from normkit.models import Transformer
from normkit.training import cross_entropy

CASES = list(itertools.product(("layer", "rms"), ("pre", "post", "peri", "output"), ("emb", "noemb")))
TOLERANCE = 1e-10


def build(golden: Any, kind: str, placement: str, embedding: str) -> Transformer:
    vocabulary, width, heads, layers, *_ = (int(each) for each in golden["cfg"])
    inner = golden["param.layers.0.mlp.w1"].shape[0]
    model = Transformer(
        vocabulary,
        width,
        heads,
        layers,
        inner,
        placement=placement,
        norm=kind,
        eps=float(golden["eps"]),
        embed_norm=embedding == "emb",
        positions="none",
        dtype=torch.float64,
    )
    model.load_state_dict({name: parameter(golden, name, value) for name, value in model.state_dict().items()})
    return model


def parameter(golden: Any, name: str, value: Tensor) -> Tensor:
    """The file's array for a parameter of ours."""
    if name.endswith(("self_attn.in_proj_bias", "self_attn.out_proj.bias")):
        return torch.zeros_like(value)
    if name in ("embed.weight", "head.weight"):
        return golden.tensor(f"param.{name.removesuffix('.weight')}")
    if not name.startswith("layers."):
        return golden.tensor(f"param.{name}")
    _, layer, part = name.split(".", 2)
    places = {"norm1": "attn.norm", "norm2": "mlp.norm", "norm1_out": "attn.out_norm", "norm2_out": "mlp.out_norm"}
    maps = {"linear1.weight": "w1", "linear1.bias": "b1", "linear2.weight": "w2", "linear2.bias": "b2"}
    if part == "self_attn.in_proj_weight":
        return torch.cat([golden.tensor(f"param.layers.{layer}.attn.w{each}") for each in "qkv"])
    if part == "self_attn.out_proj.weight":
        return golden.tensor(f"param.layers.{layer}.attn.wo")
    if part in maps:
        return golden.tensor(f"param.layers.{layer}.mlp.{maps[part]}")
    norm, _, kind = part.partition(".")
    return golden.tensor(f"param.layers.{layer}.{places[norm]}.{kind}")


def streams(model: Transformer, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The logits, and the stream after the embedding stage and after each sub-layer."""
    seen: list[Tensor] = []
    hooks = []
    for layer in model.layers:
        hooks.append(layer.register_forward_pre_hook(lambda module, args: seen.append(args[0])))
        if layer.placement == "post":
            hooks.append(layer.norm1.register_forward_hook(lambda module, args, out: seen.append(out)))
        else:
            before_mlp = layer.linear1 if layer.placement == "output" else layer.norm2
            hooks.append(before_mlp.register_forward_pre_hook(lambda module, args: seen.append(args[0])))
    hooks.append(model.layers[-1].register_forward_hook(lambda module, args, out: seen.append(out)))
    logits = model(tokens)
    for hook in hooks:
        hook.remove()
    return logits, seen


def close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=0, atol=TOLERANCE * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize(("kind", "placement", "embedding"), CASES)
def test_a_placement(golden: Any, kind: str, placement: str, embedding: str) -> None:
    case = f"{kind}_{placement}_{embedding}"
    if f"{case}_logits" not in golden:
        pytest.skip(f"the file holds no {case}")
    model = build(golden, kind, placement, embedding)
    logits, seen = streams(model, golden.tensor("tokens"))
    loss = cross_entropy(logits, (None, golden.tensor("targets")))
    loss.backward()
    assert close(logits, golden.tensor(f"{case}_logits"))
    assert close(loss, golden.tensor(f"{case}_loss"))
    assert close(torch.stack([x.var(-1, correction=0).mean() for x in seen]), golden.tensor(f"{case}_var"))
    assert close(torch.stack([x.abs().max() for x in seen]), golden.tensor(f"{case}_absmax"))
    assert close(model.embed.weight.grad, golden.tensor(f"{case}_grad.embed"))
    for index, layer in enumerate(model.layers):
        assert close(layer.linear2.weight.grad, golden.tensor(f"{case}_grad.layers.{index}.mlp.w2"))
