"""Small files of what the normalisers learned: they hold what they should, and load whole or not at all."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from normkit.models import cifar_resnet
from normkit.weights import (
    affine_state_dict,
    keep_statistics,
    keeps_statistics,
    load_affine,
    load_affine_state_dict,
    reinit_affine_,
    save_affine,
)

IMAGES = torch.randn(4, 3, 8, 8)


def _task(base: nn.Module, seed: int) -> nn.Module:
    """Another γ and other statistics over the same weights."""
    model = reinit_affine_(copy.deepcopy(base), "positivenegative", torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    nn.init.normal_(model.fc.weight)
    model.train()(IMAGES + seed)
    return model.eval()


@pytest.fixture
def base() -> nn.Module:
    return cifar_resnet(8, 4)


def test_holds_norms_and_head_and_nothing_else(base: nn.Module) -> None:
    state = affine_state_dict(base)
    assert {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked"} <= set(state)
    assert not [name for name in state if "conv" in name or "fc" in name or "shortcut.0" in name]
    assert set(affine_state_dict(base, "auto")) - set(state) == {"fc.weight", "fc.bias"}
    state["bn.weight"].zero_()
    assert base.bn.weight.abs().sum() > 0


def test_tasks_are_swapped_over_one_base(base: nn.Module, tmp_path) -> None:
    tasks = {seed: _task(base, seed) for seed in (1, 2)}
    for seed, task in tasks.items():
        save_affine(task, tmp_path / f"{seed}.safetensors", "auto")
    for seed in (1, 2, 1):
        load_affine(base, tmp_path / f"{seed}.safetensors")
        assert torch.equal(base.eval()(IMAGES), tasks[seed](IMAGES))
    assert not torch.equal(tasks[1](IMAGES), tasks[2](IMAGES))


def test_the_file_is_small_and_says_what_statistics_do(base: nn.Module, tmp_path) -> None:
    path = save_affine(cifar_resnet(32, 16), tmp_path / "moved.safetensors")
    whole = sum(t.numel() * t.element_size() for t in cifar_resnet(32, 16).state_dict().values())
    assert path.stat().st_size < 0.03 * whole
    keep_statistics(base)
    kept = save_affine(base, tmp_path / "kept.safetensors")
    other = cifar_resnet(8, 4)
    load_affine(other, kept)
    assert keeps_statistics(other)


def test_misfits_are_named_and_load_nothing(base: nn.Module) -> None:
    before = copy.deepcopy(base.state_dict())
    state = affine_state_dict(_task(base, 1))
    with pytest.raises(ValueError, match=r"the model has no layer4\.weight"):
        load_affine_state_dict(base, {**state, "layer4.weight": torch.ones(1)})
    lacking = {name: tensor for name, tensor in state.items() if name != "bn.weight"}
    with pytest.raises(ValueError, match=r"it lacks bn.weight \(strict=False"):
        load_affine_state_dict(base, lacking)
    with pytest.raises(ValueError, match=r"bn.weight is \(5,\) and must be \(4,\)"):
        load_affine_state_dict(base, {**state, "bn.weight": torch.ones(5)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    load_affine_state_dict(base, lacking, strict=False)
    assert torch.equal(base.bn.bias, state["bn.bias"])
    assert torch.equal(base.bn.weight, before["bn.weight"])


def test_files_that_are_no_such_file(base: nn.Module, tmp_path) -> None:
    path = save_affine(base, tmp_path / "task.safetensors")
    with pytest.raises(FileExistsError, match="choose another name, or pass force=True"):
        save_affine(base, path)
    save_affine(base, path, force=True)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_affine(base, tmp_path / "nothing.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="is corrupt"):
        load_affine(base, path)
    save_file({"bn.weight": torch.ones(4)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="was not written by save_affine"):
        load_affine(base, tmp_path / "other.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.safetensors", "task.safetensors"]
