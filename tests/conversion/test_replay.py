"""A conversion kept on disk: whole or refused, rebuilt from what the recipe says."""

import json

import pytest
import torch
from torch import nn

from normkit.conversion import convert, load, reload
from tests.conversion.instances import conv_net, images


@pytest.fixture
def kept(tmp_path):
    return convert(conv_net(), "group-norm", data=images()).save(tmp_path / "kept")


def test_holds_a_recipe_and_safe_weights(kept):
    assert sorted(path.name for path in kept.iterdir()) == ["model.safetensors", "recipe.json"]
    recipe = json.loads((kept / "recipe.json").read_text())
    assert recipe["steps"][0]["rule"] == "group-norm"
    assert [site["path"] for site in recipe["steps"][0]["sites"]] == ["1", "4"]


def test_is_rebuilt_on_a_fresh_network_which_stays_as_it_is(kept):
    fresh = conv_net()
    told = reload(kept, fresh)
    assert told.to == ["group-norm"]
    assert told.kind == "calibrated"
    assert isinstance(told.model[1], nn.GroupNorm)
    assert isinstance(fresh[1], nn.BatchNorm2d)


def test_is_rebuilt_by_the_function_that_the_recipe_names(kept):
    recipe = json.loads((kept / "recipe.json").read_text())
    recipe["source"] = {"model": "tests.conversion.instances:conv_net"}
    (kept / "recipe.json").write_text(json.dumps(recipe))
    assert isinstance(load(kept)[1], nn.GroupNorm)


def test_nothing_is_overwritten_unasked(kept):
    conversion = convert(conv_net(), "fold", data=images())
    with pytest.raises(FileExistsError, match="force=True"):
        conversion.save(kept)
    assert isinstance(load(kept, conv_net())[1], nn.GroupNorm)
    conversion.save(kept, force=True)
    assert isinstance(load(kept, conv_net())[1], nn.Identity)


def test_tied_and_frozen_half_precision_weights_come_back(tmp_path):
    def build():
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
        net[3].weight = net[2].weight
        return net

    conversion = convert(build().bfloat16(), "fold", data=[batch.bfloat16() for batch in images()])
    new = load(conversion.save(tmp_path / "kept"), build())
    assert new[3].weight is new[2].weight
    assert new[2].weight.dtype == torch.bfloat16
    assert torch.equal(new[2].weight, conversion.model[2].weight)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda kept: (kept / "model.safetensors").write_bytes(b"no"), ValueError, "is corrupt"),
        (lambda kept: (kept / "model.safetensors").unlink(), FileNotFoundError, "model.safetensors: no such file"),
        (lambda kept: (kept / "recipe.json").unlink(), FileNotFoundError, "recipe.json: no such file"),
        (lambda kept: (kept / "recipe.json").write_text("{"), ValueError, "is no recipe"),
        (lambda kept: (kept / "recipe.json").write_text("{}"), ValueError, "it lacks `steps`"),
        (lambda kept: edit(kept, schema=99), ValueError, "schema 99; this normkit reads 1"),
        (lambda kept: edit(kept, sha256="0"), ValueError, "its checksum differs"),
        (lambda kept: edit(kept, steps=[{"rule": "x", "options": {}, "sites": []}]), ValueError, "no rule 'x'"),
    ],
)
def test_a_spoilt_folder_is_one_clear_error(kept, spoil, error, message: str):
    spoil(kept)
    with pytest.raises(error, match=message):
        load(kept, conv_net())


def edit(kept, **changes) -> None:
    recipe = json.loads((kept / "recipe.json").read_text())
    (kept / "recipe.json").write_text(json.dumps({**recipe, **changes}))


def test_another_network_is_refused(kept):
    with pytest.raises(ValueError, match="there is no module '4'"):
        load(kept, nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)))
    other = conv_net()
    other[8] = nn.Linear(12, 7)
    with pytest.raises(ValueError, match="does not fit the network"):
        load(kept, other)


def test_without_a_source_the_network_is_asked_for(kept):
    with pytest.raises(ValueError, match="pass model=, a fresh one of the original class"):
        load(kept)


def test_a_dry_run_cannot_be_kept(tmp_path):
    plan = convert(conv_net(), "fold", data=images(), dry_run=True)
    with pytest.raises(ValueError, match="a dry run has no model to save"):
        plan.save(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_an_unwritable_folder_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be created"):
        convert(conv_net(), "fold", data=images()).save(tmp_path / "file" / "kept")
