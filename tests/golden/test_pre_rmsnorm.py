"""The norms, and a vision transformer of the authors in its three equal forms: LayerNorm, RMSNorm, CRMSNorm."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from normkit import functional, nn
from normkit.surgery.zero_mean import compress_reader, compress_writer, recentre
from tests.golden.conftest import Golden

EPS = 1e-5  # fixed by the file's description
TOLERANCE = 1e-10
WRITERS = {  # axis of the stream, counted from the end so that a stack of layers needs no other
    "patch_linear_weight": -2,
    "patch_linear_bias": -1,
    "pos_embedding": -1,
    "cls_token": -1,
    "att_out_linear_weight": -2,
    "att_out_linear_bias": -1,
    "mlp_out_linear_weight": -2,
    "mlp_out_linear_bias": -1,
}
READERS = ("att_in_linear_weight", "mlp_in_linear_weight", "cls_head_linear_weight")

Norm = Callable[[Tensor], Tensor]


@pytest.mark.parametrize("kernel", [None, "reference"])
@pytest.mark.parametrize("kind", ["ln", "rms", "crms"])
def test_norm(golden: Golden, kind: str, kernel: str | None) -> None:
    x = golden.tensor(f"{kind}_x").requires_grad_()
    if kind == "crms":
        y = functional.crms_norm(x, None, EPS, kernel=kernel)
    else:
        norm = {"ln": functional.layer_norm, "rms": functional.rms_norm}[kind]
        y = norm(x, x.shape[-1:], eps=EPS, kernel=kernel)
    _close(y, golden.tensor(f"{kind}_y"))
    _close(torch.autograd.grad(y, x, golden.tensor(f"{kind}_gy"))[0], golden.tensor(f"{kind}_gx"))


def test_recentred_and_compressed_weights(golden: Golden) -> None:
    for name, axis in WRITERS.items():
        raw = golden.tensor(f"vit_{name}")
        _close(recentre(raw, axis), golden.tensor(f"vit_zm_{name}"))
        _close(compress_writer(raw, axis), golden.tensor(f"vit_compressed_{name}"))
    for name in READERS:
        _close(compress_reader(golden.tensor(f"vit_{name}")), golden.tensor(f"vit_compressed_{name}"))


@pytest.mark.parametrize("form", ["pre_ln", "pre_rms", "pre_crms"])
def test_three_forms_are_one_function(golden: Golden, form: str) -> None:
    raw = {key: golden.tensor(f"vit_{key}") for key in _raw_names(golden)}
    width = raw["cls_token"].shape[-1]
    options = {"elementwise_affine": False, "dtype": torch.float64}
    norm: Norm
    if form == "pre_ln":
        norm = nn.LayerNorm(width, EPS, **options)
    elif form == "pre_rms":
        norm = nn.RMSNorm(width, EPS, **options)
        raw |= {name: recentre(raw[name], axis) for name, axis in WRITERS.items()}
    else:
        norm = nn.CRMSNorm(width - 1, EPS, **options)
        raw |= {name: compress_writer(raw[name], axis) for name, axis in WRITERS.items()}
        raw |= {name: compress_reader(raw[name]) for name in READERS}
    logits = _vision_transformer(golden.tensor("vit_x"), raw, int(golden["vit_heads"]), norm)
    for wanted in ("pre_ln", "pre_rms", "pre_crms"):
        _close(logits, golden.tensor(f"vit_{wanted}_result"))


def test_rmsnorm_without_recentring_is_another_function(golden: Golden) -> None:
    raw = {key: golden.tensor(f"vit_{key}") for key in _raw_names(golden)}
    norm = nn.RMSNorm(raw["cls_token"].shape[-1], EPS, elementwise_affine=False, dtype=torch.float64)
    logits = _vision_transformer(golden.tensor("vit_x"), raw, int(golden["vit_heads"]), norm)
    assert (logits - golden.tensor("vit_pre_ln_result")).abs().max() > 1e-3


def _raw_names(golden: Golden) -> list[str]:
    return golden.cases(r"vit_((?!zm_|compressed_)\w+_(?:weight|bias|embedding|token))")


def _vision_transformer(patches: Tensor, p: dict[str, Tensor], heads: int, norm: Norm) -> Tensor:
    stream = F.linear(patches, p["patch_linear_weight"], p["patch_linear_bias"]) + p["pos_embedding"]
    stream = torch.cat([p["cls_token"].expand(len(patches), -1, -1), stream], dim=1)
    for layer in _layers(p):
        attended = _attention(F.linear(norm(stream), layer["att_in_linear_weight"], layer["att_in_linear_bias"]), heads)
        stream = stream + F.linear(attended, layer["att_out_linear_weight"], layer["att_out_linear_bias"])
        hidden = F.gelu(F.linear(norm(stream), layer["mlp_in_linear_weight"], layer["mlp_in_linear_bias"]))
        stream = stream + F.linear(hidden, layer["mlp_out_linear_weight"], layer["mlp_out_linear_bias"])
    return F.linear(norm(stream)[:, 0], p["cls_head_linear_weight"], p["cls_head_linear_bias"])


def _layers(p: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    stacked = {name: value for name, value in p.items() if name.startswith(("att_", "mlp_"))}
    for depth in range(len(stacked["att_in_linear_weight"])):
        yield {name: value[depth] for name, value in stacked.items()}


def _attention(projected: Tensor, heads: int) -> Tensor:
    batch, length, _ = projected.shape
    query, key, value = projected.reshape(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, -1)


def _close(ours: Tensor, wanted: Tensor) -> None:
    assert ours.shape == wanted.shape
    assert (ours - wanted).abs().max().item() <= TOLERANCE * max(1.0, wanted.abs().max().item())
