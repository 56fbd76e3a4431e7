"""What a person brings: models, weights and data by name; each mistake is one clear error."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from normkit.cli._inputs import data_from, load_weights, model_from


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mynets.py").write_text(
        "from torch import nn\nimport torch\n"
        "def net(): return nn.Linear(3, 2)\n"
        "def number(): return 3\n"
        "made = nn.Linear(3, 2)\n"
        "def batches(): return [(torch.zeros(2, 3), torch.zeros(2))]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_function_or_a_module_names_a_model(package: Path) -> None:
    model, source = model_from("mynets:net")
    assert isinstance(model, nn.Linear)
    assert source == {"model": "mynets:net"}
    assert isinstance(model_from("mynets:made")[0], nn.Linear)
    assert model_from() == (None, {})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "mynets.net"}, ValueError, "package.module:name"),
        ({"model": "mynets:nothing"}, ImportError, "no attribute 'nothing'"),
        ({"model": "nowhere:net"}, ImportError, "no module 'nowhere'"),
        ({"model": "mynets:number"}, TypeError, "gave a int: a function that returns an nn.Module is wanted"),
        ({"model": "mynets:net", "hf": Path("x")}, ValueError, "give one of them"),
        ({"checkpoint": Path("x")}, ValueError, "name the model"),
        ({"hf": Path("not-there")}, FileNotFoundError, "no config.json"),
    ],
)
def test_a_mistake_in_the_model_is_named(
    package: Path, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model_from(**arguments)


def test_weights_are_loaded_strictly(tmp_path: Path) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    torch.save({"state_dict": source.state_dict()}, tmp_path / "w.pt")
    for name in ("w.safetensors", "w.pt"):
        target.reset_parameters()
        load_weights(target, tmp_path / name)
        assert torch.equal(source.weight, target.weight)
    with pytest.raises(
        ValueError, match=r"does not fit the model: of another shape: weight \(2, 3\) where the model has"
    ):
        load_weights(nn.Linear(4, 2), tmp_path / "w.safetensors")
    with pytest.raises(
        ValueError, match=r"does not fit the model: it lacks 0\.bias, 0\.weight; the model lacks bias, w"
    ):
        load_weights(nn.Sequential(nn.Linear(3, 2)), tmp_path / "w.safetensors")


@pytest.mark.parametrize("wrapper", ["model", "model_state_dict", "net"])
def test_what_training_scripts_save_around_the_weights_is_taken_off(tmp_path: Path, wrapper: str) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    parallel = {f"module.{name}": value for name, value in source.state_dict().items()}
    for state in (source.state_dict(), parallel):
        target.reset_parameters()
        torch.save({wrapper: state, "epoch": 3}, tmp_path / "w.pt")
        load_weights(target, tmp_path / "w.pt")
        assert torch.equal(source.weight, target.weight)


def test_a_checkpoint_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="it holds a dict with epoch, loss; a dict of tensors is wanted"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_corrupt_or_missing_checkpoint_is_one_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_weights(nn.Linear(3, 2), tmp_path / name)
    (tmp_path / name).write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_weights(nn.Linear(3, 2), tmp_path / name)


def test_a_checkpoint_is_never_unpickled(tmp_path: Path) -> None:
    torch.save({"state_dict": Path("an object")}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"cannot be read as weights: it holds Python objects") as caught:
        load_weights(nn.Linear(3, 2), tmp_path / "w.pt")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_data_comes_by_name_file_or_function(package: Path) -> None:
    inputs, targets = next(iter(data_from("digits", batch_size=5)))
    assert inputs.shape == (5, 1, 8, 8)
    assert targets.shape == (5,)
    assert -1 <= inputs.min() < 0 < inputs.max() <= 1
    np.savez(package / "d.npz", X=np.zeros((7, 3), np.float32), y=np.arange(7))
    assert next(iter(data_from(str(package / "d.npz"), batch_size=4)))[0].shape == (4, 3)
    assert len(list(data_from("mynets:batches", batch_size=4))) == 1
    assert data_from(None, batch_size=4) is None


def test_a_mistake_in_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        data_from(str(tmp_path / "no.npz"), batch_size=2)
    (tmp_path / "bad.npz").write_bytes(b"PK not really")
    with pytest.raises(ValueError, match=r"cannot be read as an \.npz"):
        data_from(str(tmp_path / "bad.npz"), batch_size=2)
    np.savez(tmp_path / "noy.npz", X=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds \['X'\]"):
        data_from(str(tmp_path / "noy.npz"), batch_size=2)
    np.savez(tmp_path / "uneven.npz", X=np.zeros(3), y=np.zeros(2))
    with pytest.raises(ValueError, match="X has 3 rows and y has 2"):
        data_from(str(tmp_path / "uneven.npz"), batch_size=2)


def test_a_hugging_face_folder_is_built_from_its_config(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra `text` is not installed")
    config = transformers.GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=30, n_positions=8)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "whole")
    config.architectures = ["GPT2LMHeadModel"]
    config.save_pretrained(tmp_path / "config")
    for name in ("whole", "config"):
        model, source = model_from(hf=tmp_path / name)
        assert type(model).__name__ == "GPT2LMHeadModel"
        assert source == {"hf": str(tmp_path / name)}
