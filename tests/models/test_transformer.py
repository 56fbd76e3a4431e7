import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normkit.models import Transformer, TransformerEncoderLayer
from normkit.models.transformer import PLACEMENTS

WIDTH, HEADS, INNER = 16, 4, 24


def layer(placement: str, **options: object) -> TransformerEncoderLayer:
    torch.manual_seed(0)
    built = TransformerEncoderLayer(
        WIDTH, HEADS, INNER, dropout=0.0, batch_first=True, dtype=torch.float64, placement=placement, **options
    )
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


def attention(layer: TransformerEncoderLayer, x: Tensor) -> Tensor:
    """Causal attention, one head and one position at a time."""
    weights, biases = layer.self_attn.in_proj_weight.chunk(3), layer.self_attn.in_proj_bias.chunk(3)
    q, k, v = (x @ w.T + b for w, b in zip(weights, biases, strict=True))
    size = WIDTH // HEADS
    out = torch.zeros_like(x)
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        for t in range(len(x)):
            scores = k[: t + 1, own] @ q[t, own] / size**0.5
            out[t, own] = torch.softmax(scores, 0) @ v[: t + 1, own]
    return out @ layer.self_attn.out_proj.weight.T + layer.self_attn.out_proj.bias


def mlp(layer: TransformerEncoderLayer, x: Tensor) -> Tensor:
    return torch.relu(x @ layer.linear1.weight.T + layer.linear1.bias) @ layer.linear2.weight.T + layer.linear2.bias


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else x
    y = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight
    return y if getattr(norm, "bias", None) is None else y + norm.bias


def by_hand(layer: TransformerEncoderLayer, x: Tensor) -> Tensor:
    for part, place in ((attention, "1"), (mlp, "2")):
        into = getattr(layer, f"norm{place}", None)
        out = getattr(layer, f"norm{place}_out", None)
        branch = part(layer, x if layer.placement in ("post", "output") else normed(into, x))
        x = x + (branch if out is None else normed(out, branch))
        if layer.placement == "post":
            x = normed(into, x)
    return x


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_layer_is_its_equation(placement: str, norm: str) -> None:
    built = layer(placement, norm=norm)
    x = torch.randn(5, WIDTH, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    assert torch.allclose(built(x, mask, is_causal=True), by_hand(built, x), atol=1e-12)
    assert torch.allclose(built.eval()(x[None], mask)[0], by_hand(built, x), atol=1e-12)


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_pre_and_post_are_torchs_own(placement: str) -> None:
    ours = layer(placement)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER, 0.0, batch_first=True, norm_first=placement == "pre", dtype=torch.float64
    )
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        expected = theirs(x, src_key_padding_mask=padding)
        assert torch.allclose(ours(x, src_key_padding_mask=padding)[~padding], expected[~padding], atol=1e-12)


@pytest.mark.parametrize(
    ("placement", "norms"),
    [
        ("pre", {"norm1", "norm2"}),
        ("post", {"norm1", "norm2"}),
        ("peri", {"norm1", "norm2", "norm1_out", "norm2_out"}),
        ("output", {"norm1_out", "norm2_out"}),
    ],
)
def test_the_norms_have_their_names_and_the_rest_torchs(placement: str, norms: set[str]) -> None:
    names = {name.split(".")[0] for name in layer(placement).state_dict()}
    assert names == {"self_attn", "linear1", "linear2"} | norms


def test_the_output_norm_stands_inside_the_branch() -> None:
    """With branches that say nothing the stream passes unchanged; a norm after the sum would change it."""
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    for placement in ("pre", "peri", "output"):
        built = layer(placement, norm="rms")
        for name, parameter in built.named_parameters():
            if "out_proj" in name or "linear2" in name:
                nn.init.zeros_(parameter)
        assert torch.equal(built(x), x)


@pytest.mark.parametrize("std", [0.02, 0.06, 0.125])
def test_variance_grows_by_one_a_sub_layer_with_peri_whatever_the_weights(std: float) -> None:
    """Var(x_l) = Var(x_0) + l in the mean over seeds (Peri-LN, section 3); 8 layers, 24 seeds."""
    grown = []
    for seed in range(24):
        torch.manual_seed(seed)
        model = Transformer(50, 64, 4, 8, placement="peri", positions="none", eps=1e-6, init_std=std)
        x = model.embedded(torch.randint(50, (2, 32)))
        start = x.var(-1, correction=0).mean()
        with torch.no_grad():
            mask = nn.Transformer.generate_square_subsequent_mask(32)
            for each in model.layers:
                x = each(x, mask)
        grown.append((x.var(-1, correction=0).mean() - start).item())
    assert sum(grown) / len(grown) == pytest.approx(16, rel=0.1)


def test_peris_gradient_does_not_depend_on_the_scale_before_it() -> None:
    """Multiply W₁ by s: the gradient at W₂ stays with peri and grows s-fold with pre (Peri-LN, proposition 3.1)."""
    x = torch.randn(3, 7, WIDTH, dtype=torch.float64)

    def gradient(placement: str, scale: float) -> float:
        built = layer(placement, layer_norm_eps=1e-14)
        with torch.no_grad():
            built.linear1.weight *= scale
            built.linear1.bias.zero_()
            built.linear2.bias.zero_()
        built(x).square().sum().backward() if placement == "peri" else built(x).sum(-1).sum().backward()
        return float(built.linear2.weight.grad.norm())

    for scale in (10.0, 1000.0):
        assert gradient("peri", scale) == pytest.approx(gradient("peri", 1.0), rel=1e-6)
        assert gradient("pre", scale) == pytest.approx(scale * gradient("pre", 1.0), rel=1e-6)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_causal_model_does_not_see_what_comes(placement: str) -> None:
    model = Transformer(20, WIDTH, HEADS, 2, placement=placement, max_length=10, init_std=0.5).eval()
    tokens = torch.randint(20, (2, 9))
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 20
    one, two = model(tokens), model(changed)
    assert one.shape == (2, 9, 20)
    assert torch.allclose(one[:, :5], two[:, :5], atol=1e-6)
    assert not torch.allclose(one[:, 5:], two[:, 5:], atol=1e-3)
    sees = Transformer(20, WIDTH, HEADS, 1, placement=placement, max_length=10, init_std=0.5, causal=False).eval()
    assert not torch.allclose(sees(tokens)[:, :5], sees(changed)[:, :5], atol=1e-4)


def test_stages_are_there_where_they_are_asked_for() -> None:
    plain = Transformer(20, WIDTH, HEADS, 1, placement="post", positions="none")
    assert plain.final_norm is plain.position is plain.embed_norm is None
    full = Transformer(20, WIDTH, HEADS, 1, placement="pre", embed_norm=True, norm="rms")
    assert isinstance(full.embed_norm, nn.RMSNorm)
    assert isinstance(full.final_norm, nn.RMSNorm)
    made = Transformer(20, WIDTH, HEADS, 1, norm=lambda width: nn.Identity())
    assert isinstance(made.layers[0].norm1, nn.Identity)


def test_initial_values() -> None:
    model = Transformer(400, 64, 4, 2, init_std=0.1)
    assert model.embed.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert model.layers[0].linear1.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert not model.layers[0].linear1.bias.any()
    assert torch.equal(model.layers[0].norm1.weight, torch.ones(64))


def test_it_works_inside_torchs_encoder_and_under_export() -> None:
    encoder = nn.TransformerEncoder(layer("peri"), 2, enable_nested_tensor=False)
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    assert encoder(x).shape == x.shape
    model = Transformer(20, WIDTH, HEADS, 1, placement="peri", max_length=8).eval()
    tokens = torch.randint(20, (2, 8))
    exported = torch.export.export(model, (tokens,))
    assert torch.allclose(exported.module()(tokens), model(tokens), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"placement": "middle"}, "placement is 'middle': it must be one of pre, post, peri, output"),
        ({"norm": "batch"}, "norm is 'batch'"),
        ({"activation": "step"}, "activation is 'step'"),
    ],
)
def test_wrong_options_are_named(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TransformerEncoderLayer(WIDTH, HEADS, **wrong)


def test_other_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="the heads must divide the width"):
        TransformerEncoderLayer(WIDTH, 3)
    with pytest.raises(ValueError, match="positions is 'sinus'"):
        Transformer(20, WIDTH, HEADS, 1, positions="sinus")
    with pytest.raises(ValueError, match="the sequence has 9 tokens and the model 8 positions"):
        Transformer(20, WIDTH, HEADS, 1, max_length=8)(torch.zeros(1, 9, dtype=torch.int64))


def test_gelu_and_a_function_are_activations() -> None:
    x = torch.randn(1, 3, WIDTH, dtype=torch.float64)
    for activation in ("gelu", F.gelu):
        built = layer("pre", activation=activation)
        assert torch.isfinite(built(x)).all()
    assert torch.equal(layer("pre", activation="gelu")(x), layer("pre", activation=F.gelu)(x))
