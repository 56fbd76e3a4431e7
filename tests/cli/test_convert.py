"""`normkit convert`: one JSON object, a folder that can be loaded, and one line for whatever is wrong."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from normkit.cli import main
from normkit.conversion import load, rules
from tests.conversion.instances import encoder, images

MODEL = ("--model", "tests.conversion.instances:conv_net", "--data", "tests.conversion.instances:images")


@pytest.fixture
def normkit(monkeypatch, capsys, tmp_path):
    """Run `normkit convert` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["normkit", "convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=exit_.value.code, out=out, err=err)

    return run


def test_converts_keeps_and_replays(normkit, tmp_path):
    done = normkit(*MODEL, "--to", "weight-standardization,batch-channel-norm", "--out", "kept", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["to"] == ["weight-standardization", "batch-channel-norm"]
    assert told["kind"] == "calibrated"
    assert {"schema", "versions", "device", "seconds"} <= told.keys()
    new, x = load(tmp_path / "kept").eval(), images()[0]

    again = normkit("--replay", "kept/recipe.json", "--out", "again", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["changes"] == told["changes"]
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "again").eval()(x), new(x))


def test_options_are_the_rules_own(normkit):
    assert normkit(*MODEL, "--to", "group-norm", "--option", "groups=4", "--out", "one").code == 0
    assert load("one")[1].num_groups == 4
    several = ("weight-standardization.variant=timm", "batch-channel-norm.groups=2", "batch-channel-norm.style=batch")
    options = [word for option in several for word in ("--option", option)]
    options += ["--option", "batch-channel-norm.speed=none", "--option", "batch-channel-norm.fit=false"]
    done = normkit(*MODEL, "--to", "weight-standardization,batch-channel-norm", *options, "--out", "two")
    assert done.code == 0, done.err
    steps = json.loads((Path("two") / "recipe.json").read_text())["steps"]
    assert steps[0]["options"] == {"fit": True, "variant": "timm"}
    assert steps[1]["options"] == {"fit": False, "groups": 2, "style": "batch", "speed": None}
    assert load("two")[1].num_groups == 2


def test_overwrites_only_with_force(normkit):
    assert normkit(*MODEL, "--to", "group-norm", "--out", "kept").code == 0
    refused = normkit(*MODEL, "--to", "fold", "--out", "kept")
    assert refused.code == 2
    assert "--force" in refused.err
    assert type(load("kept")[1]).__name__ == "GroupNorm"
    early = normkit("--model", "no_such_module:build", "--to", "fold", "--out", "kept")
    assert "--force" in early.err  # known before the network is built
    assert normkit(*MODEL, "--to", "fold", "--out", "kept", "--force").code == 0
    assert type(load("kept")[1]).__name__ == "Identity"


def test_a_hugging_face_folder(normkit):
    transformers = pytest.importorskip("transformers")
    settings = {"vocab_size": 40, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
    config = transformers.GPT2Config(**settings, bos_token_id=0, eos_token_id=1)
    transformers.GPT2LMHeadModel(config).save_pretrained("gpt2")
    done = normkit("--hf", "gpt2", "--to", "pre-rmsnorm", "--out", "kept")
    assert done.code == 0, done.err
    assert "kind: exact" in done.out
    assert "time before / time now" in done.out
    assert type(load("kept")).__name__ == "GPT2LMHeadModel"


def test_a_dry_run_with_a_checkpoint_writes_nothing(normkit, tmp_path):
    save_file(encoder().state_dict(), tmp_path / "weights.safetensors")
    plan = normkit(
        *("--model", "tests.conversion.instances:encoder", "--checkpoint", "weights.safetensors"),
        *("--to", "pre-crmsnorm", "--dry-run", "--out", "none", "--json"),
    )
    assert plan.code == 0, plan.err
    told = json.loads(plan.out)
    assert told["max_rel_diff"] is None
    assert told["changes"]
    assert not (tmp_path / "none").exists()


def test_another_recipe_than_the_one_named_is_never_replayed(normkit):
    assert normkit(*MODEL, "--to", "fold", "--out", ".").code == 0
    for name, message in (("lost", "--replay lost: no such file or folder"), ("model.safetensors", "name the folder")):
        refused = normkit("--replay", name)
        assert refused.code == 2
        assert message in refused.err
    assert normkit("--replay", ".").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "fold"), "name the network to convert with --model or --hf"),
        (MODEL, "say what to convert it to with --to: affine-only, batch-channel-norm, "),
        ((*MODEL, "--to", "fodl"), "there is no rule 'fodl'"),
        ((*MODEL, "--to", "pre-rmsnorm"), "nothing could be converted"),
        ((*MODEL, "--to", "fold", "--tolerance", "0"), "where 0e+00 is allowed"),
        ((*MODEL[:2], "--to", "fold"), "pass example="),
        (("--replay", "nowhere/recipe.json"), "no such file"),
        (("--replay", "x", "--to", "fold"), "leave --to and --option out"),
        (("--replay", "x", "--option", "groups=2"), "leave --to and --option out"),
        ((*MODEL, "--to", "group-norm", "--option", "group=2"), "has no option group: it has fit, groups"),
        ((*MODEL, "--to", "fold", "--option", "groups=2"), "has no option groups: it has none"),
        ((*MODEL, "--to", "group-norm", "--option", "groups"), "write KEY=VALUE"),
        ((*MODEL, "--to", "group-norm", "--option", "groups=2", "--option", "groups=4"), "groups is given twice"),
        ((*MODEL, "--to", "group-norm", "--option", "groups=few"), "'auto' or a whole number of at least 1, got 'few'"),
        ((*MODEL, "--to", "group-norm", "--option", "fold.groups=2"), "names no rule 'fold' but group-norm"),
        ((*MODEL, "--to", "fold,group-norm", "--option", "groups=2"), "so write RULE.groups=VALUE"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(normkit, tmp_path, arguments, message: str):
    done = normkit(*arguments, "--out", "kept")
    assert done.code == 2
    assert message in done.err
    assert done.err.startswith("error: ")
    assert len(done.err.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_help_lists_the_rules_and_says_what_happens_without_out(normkit, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    done = normkit("--help")
    assert done.code == 0
    assert ", ".join(rules()) in done.out
    assert "[default: keep nothing]" in done.out
