import pickletools
from pathlib import Path

import pytest
import torch
from torch import nn

from normkit.training.checkpoint import Progress, read, restore, write


def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).to(torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.8, 0.9))
    model(torch.randn(4, 3, dtype=torch.float64)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = parts()
    progress = Progress(3, 1, 2, [0.1, 1 / 3], [1e-3], {"cpu": torch.get_rng_state()}, {"cpu": torch.get_rng_state()})
    write(tmp_path / "a", model, optimizer, progress)
    other = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).to(torch.float64)
    fresh = torch.optim.Adam(other.parameters())
    again = restore(tmp_path / "a", other, fresh)
    assert (again.step, again.epoch, again.batch, again.losses, again.base_rates) == (3, 1, 2, [0.1, 1 / 3], [1e-3])
    assert torch.equal(again.rng["cpu"], progress.rng["cpu"])
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    assert fresh.param_groups[0]["betas"] == (0.8, 0.9)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        for key, value in optimizer.state[one].items():
            assert torch.equal(fresh.state[two][key], value)


def test_no_pickle_is_inside(tmp_path: Path) -> None:
    write(tmp_path / "a", *parts(), Progress())
    with pytest.raises(ValueError):
        list(pickletools.genops((tmp_path / "a").read_bytes()))
    header, tensors = read(tmp_path / "a")
    assert header["schema"] == "normkit.training/1"
    assert tensors


def test_a_state_that_is_no_plain_figure_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    model, optimizer = parts()
    optimizer.param_groups[0]["hook"] = print
    with pytest.raises(TypeError, match="groups/0/hook is a builtin_function"):
        write(tmp_path / "a", model, optimizer, Progress())
    assert list(tmp_path.iterdir()) == []
