import torch
from torch import nn

from normkit.comparison.cost import Step, held_bytes, step_seconds
from normkit.training import cross_entropy


def step(model: nn.Module, batch: int = 8) -> Step:
    x, y = torch.randn(batch, 6), torch.zeros(batch, dtype=torch.int64)
    return Step(model, (x, y), torch.optim.SGD(model.parameters(), 0.1), cross_entropy, None)


def test_bytes_are_counted_by_hand() -> None:
    """Linear 6 → 2, batch 8: weights and gradients 2·14·4; saved: x (8·6·4), log-softmax (8·2·4), labels (8·8), and the
    loss's total weight (one float)."""
    assert held_bytes(step(nn.Linear(6, 2))) == 2 * 14 * 4 + 8 * 6 * 4 + 8 * 2 * 4 + 8 * 8 + 4


def test_more_activations_are_more_bytes_and_the_count_repeats() -> None:
    deep = nn.Sequential(nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 2))
    assert held_bytes(step(deep, 64)) > held_bytes(step(deep, 8)) == held_bytes(step(deep, 8))


def test_in_place_and_shared_activations_count_once() -> None:
    apart = nn.Sequential(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 2))
    in_place = nn.Sequential(nn.Linear(6, 2), nn.ReLU(inplace=True), nn.Linear(2, 2))
    assert held_bytes(step(in_place)) == held_bytes(step(apart))  # ReLU saves its output, the next map its input: one


def test_a_step_trains_and_is_timed() -> None:
    one = step(nn.Linear(6, 2))
    before = one.model.weight.clone()
    seconds = step_seconds({"a": one, "b": step(nn.Linear(6, 2))}, rounds=2)
    assert not torch.equal(one.model.weight, before)
    assert all(value > 0 for value in seconds.values())
