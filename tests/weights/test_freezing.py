"""What trains under each condition, and that the rest stays what it was to the bit."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normkit.models import cifar_resnet
from normkit.weights import affine_parameters, freeze, keep_statistics, keeps_statistics, random_subset, subset_masks
from tests.weights.test_affine import FrozenBatchNorm2d

IMAGES, LABELS = torch.randn(4, 3, 8, 8), torch.arange(4)


def _step(model: nn.Module, **options: float) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1, momentum=0.9, **options)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model.train()(IMAGES), LABELS).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("condition", "trained", "frozen"),
    [
        ("all", {"conv.weight", "bn.weight", "fc.bias"}, set()),
        ("affine", {"bn.weight", "blocks.1.shortcut.1.bias"}, {"conv.weight", "fc.weight", "fc.bias"}),
        ("affine+output", {"bn.weight", "fc.weight", "fc.bias"}, {"conv.weight", "blocks.1.shortcut.0.weight"}),
        ("output", {"fc.weight", "fc.bias"}, {"bn.weight", "conv.weight"}),
        ("shortcut", {"blocks.1.shortcut.0.weight"}, {"bn.weight", "fc.weight", "blocks.1.shortcut.1.weight"}),
        ("shortcut+output", {"blocks.2.shortcut.0.weight", "fc.bias"}, {"bn.weight", "conv.weight"}),
        ("no-affine", {"conv.weight", "fc.weight"}, {"bn.weight", "bn.bias"}),
    ],
)
def test_conditions(condition: str, trained: set[str], frozen: set[str]) -> None:
    model = cifar_resnet(8, 4)
    chosen = freeze(model, condition)
    assert trained <= chosen.trained.keys()
    assert not frozen & chosen.trained.keys()
    assert chosen.total == sum(p.numel() for p in model.parameters())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    _step(model, weight_decay=1e-4)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == set(chosen.trained)
    assert model.bn.num_batches_tracked == 2  # running statistics move: they are no parameters


def test_a_random_subset_moves_alone_whatever_the_optimiser() -> None:
    model = cifar_resnet(8, 4)
    plain = copy.deepcopy(model)
    chosen = freeze(model, "random", count=2, seed=3)
    assert chosen.count == sum(p.numel() for p in affine_parameters(plain).values())
    masks = subset_masks(model)
    assert len(masks) == 9
    assert all((mask.flatten(1).sum(1) == 2).all() for mask in masks.values())
    assert torch.equal(model.eval()(IMAGES), plain.eval()(IMAGES))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.1, weight_decay=0.5)
    F.cross_entropy(model.train()(IMAGES), LABELS).backward()
    optimizer.step()
    for path, mask in masks.items():
        new, old = model.get_submodule(path).weight, plain.get_submodule(path).weight
        assert torch.equal(new[~mask], old[~mask])
        assert (new[mask] != old[mask]).any()
    assert torch.equal(model.fc.weight, plain.fc.weight)


def test_positions_follow_from_the_seed() -> None:
    first, again, other = (cifar_resnet(8, 4) for _ in range(3))
    for model, seed in ((first, 1), (again, 1), (other, 2)):
        random_subset(model, seed=seed)
    same = [torch.equal(a, b) for a, b in zip(*(subset_masks(m).values() for m in (first, again)), strict=True)]
    assert all(same)
    assert any(not torch.equal(a, b) for a, b in zip(*(subset_masks(m).values() for m in (first, other)), strict=True))


def test_small_filters_train_whole_and_that_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 3, 1))
    with pytest.warns(UserWarning, match="0: filters have less than 2 weights and train whole"):
        counts = random_subset(model)
    assert counts == {"0": 4, "1": 6}


def test_as_a_context_it_gives_back_what_trained() -> None:
    model = cifar_resnet(8, 4)
    model.conv.weight.requires_grad_(False)
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    for condition in ("affine", "random", "output"):
        with freeze(model, condition) as chosen:
            assert chosen.count < chosen.total
        assert {name: p.requires_grad for name, p in model.named_parameters()} == before
    assert not subset_masks(model)


def test_buffers_of_a_frozen_batch_norm_become_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), FrozenBatchNorm2d(4), nn.Flatten(), nn.Linear(256, 4))
    names, plain = set(model.state_dict()), model(IMAGES)
    chosen = freeze(model)
    assert chosen.trained == {"1.weight": 4, "1.bias": 4}
    assert set(model.state_dict()) == names
    assert torch.equal(model(IMAGES), plain)
    chosen.restore()
    assert not model[1].weight.requires_grad


def test_the_output_layer_is_the_last_map_or_the_one_named() -> None:
    model = cifar_resnet(8, 4)
    assert freeze(model, "output").head == ("fc",)
    assert set(freeze(model, "output", head="blocks.2.conv2").trained) == {"blocks.2.conv2.weight"}
    with pytest.raises(ValueError, match="no module 'classifier' with parameters; at the top stand conv, bn"):
        freeze(model, "output", head="classifier")
    with pytest.raises(ValueError, match="no linear map or convolution that could be its output layer"):
        freeze(nn.Sequential(nn.LayerNorm(3)), "affine+output")


def test_refusals_leave_everything_as_it_was() -> None:
    plain = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    with pytest.raises(ValueError, match="condition is 'bn': it must be one of all, affine"):
        freeze(plain, "bn")
    with pytest.raises(ValueError, match="no normaliser with affine parameters"):
        freeze(plain)
    with pytest.raises(ValueError, match="no 1×1 convolution in a module named downsample"):
        freeze(plain, "shortcut")
    with pytest.raises(ValueError, match="no convolution whose filters could be drawn from"):
        freeze(plain, "random")
    with pytest.raises(ValueError, match="count is 0"):
        random_subset(cifar_resnet(8, 4), 0)
    model = cifar_resnet(8, 4)
    random_subset(model)
    with pytest.raises(ValueError, match="conv has a parametrised weight"):
        random_subset(model)
    assert all(p.requires_grad for p in plain.parameters())


def test_kept_statistics_stay_in_training_mode_too() -> None:
    model = cifar_resnet(8, 4)
    plain = model.eval()(IMAGES)
    keep_statistics(model)
    twin = copy.deepcopy(model)
    for net in (model, twin):
        assert keeps_statistics(net)
        assert torch.equal(net.train()(IMAGES), plain)
        assert net.bn.num_batches_tracked == 0
    keep_statistics(model, False)
    assert not keeps_statistics(model)
    assert not torch.equal(model.train()(IMAGES), plain)
    assert keeps_statistics(twin)


def test_kept_statistics_survive_export() -> None:
    model = cifar_resnet(8, 4)
    plain = model.eval()(IMAGES)
    keep_statistics(model)
    model.train()
    exported = torch.export.export(copy.deepcopy(model), (IMAGES,)).module(check_guards=False)
    torch.testing.assert_close(exported(IMAGES), plain)


def test_statistics_that_were_kept_move_again_once_that_is_taken_back() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
    keep_statistics(net)
    net(torch.randn(8, 4))
    before = net[1].running_mean.clone()
    keep_statistics(net, False)
    assert net[1].training
    net(3 + torch.randn(8, 4))
    assert not torch.equal(net[1].running_mean, before)
