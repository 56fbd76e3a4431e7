"""affine-only: what trains under each option, on networks as people have them, and what a second conversion finds."""

import pytest
import torch
from torch import nn

from normkit.conversion import AffineOnly, ConversionError, convert, load
from normkit.models import cifar_resnet
from normkit.weights import affine_parameters, keeps_statistics, subset_masks
from tests.conversion.instances import encoder, images, residual_net, vectors

IMAGES = images()


def _trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_residual_net_and_an_encoder_train_their_norms() -> None:
    for model, data in ((residual_net(), IMAGES), (encoder(), vectors())):
        done = convert(model, "affine-only", data=data)
        assert _trained(done.model) == set(affine_parameters(model))
        assert done.max_rel_diff == 0
        assert all(change["from"] == "trains" and change["to"] == "frozen" for change in done.changes)


def test_a_hugging_face_model_keeps_its_head_and_its_tied_embedding_apart() -> None:
    transformers = pytest.importorskip("transformers", reason="the real network is a GPT-2 of transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=16, vocab_size=40)
    model = transformers.GPT2LMHeadModel(config).eval()
    example = {"input_ids": torch.randint(40, (2, 8))}
    done = convert(model, "affine-only", example=example)
    assert _trained(done.model) == {name for name, _ in model.named_parameters() if "ln_" in name}
    with_head = convert(model, AffineOnly("affine+output"), example=example).model
    assert _trained(with_head) - _trained(done.model) == {"transformer.wte.weight"}  # tied: it is the head


def test_options_choose_norms_head_and_statistics() -> None:
    model = cifar_resnet(8, 4, in_channels=1)
    chosen = AffineOnly("affine+output", head="blocks.2.conv2", names="bn, blocks.0.*", statistics="keep")
    done = convert(model, chosen, data=IMAGES)
    assert _trained(done.model) == {
        "bn.weight", "bn.bias", "blocks.2.conv2.weight",
        *(f"blocks.0.bn{i}.{name}" for i in (1, 2) for name in ("weight", "bias")),
    }  # fmt: skip
    assert keeps_statistics(done.model)
    assert not keeps_statistics(model)
    assert any("kept in training" in change["to"] for change in done.changes)


def test_random_weights_are_drawn_again_on_loading(tmp_path) -> None:
    model = cifar_resnet(8, 4, in_channels=1)
    done = convert(model, AffineOnly("random", count=3, seed=5), data=IMAGES)
    assert all((mask.flatten(1).sum(1) == 3).all() for mask in subset_masks(done.model).values())
    rebuilt = load(done.save(tmp_path / "kept"), cifar_resnet(8, 4, in_channels=1))
    assert _trained(rebuilt) == _trained(done.model)
    for ours, theirs in zip(subset_masks(rebuilt).values(), subset_masks(done.model).values(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_was_frozen_by_the_user_is_chosen_anew() -> None:
    model = cifar_resnet(8, 4, in_channels=1).requires_grad_(False)
    done = convert(model, "affine-only", data=IMAGES)
    assert _trained(done.model) == set(affine_parameters(model))
    assert {change["to"] for change in done.changes} == {"trains"}
    assert not _trained(model)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="condition is 'bn': it must be one of"):
        AffineOnly("bn")
    with pytest.raises(ValueError, match='statistics is "move" or "keep", got \'stop\''):
        AffineOnly(statistics="stop")
    with pytest.raises(ValueError, match="count is 0"):
        AffineOnly("random", count=0)
    model = cifar_resnet(8, 4, in_channels=1)
    with pytest.raises(ConversionError, match="no module 'classifier' with parameters"):
        convert(model, AffineOnly("output", head="classifier"), data=IMAGES)
    done = convert(model, "affine-only", data=IMAGES).model
    with pytest.raises(ConversionError, match="what trains is chosen so already"):
        convert(done, "affine-only", data=IMAGES)
