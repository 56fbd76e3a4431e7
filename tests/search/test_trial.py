import pytest
import torch

from normkit import data
from normkit.search import Protocol, Task, graph_of, known, probe, try_out
from normkit.search.architectures import ARCHITECTURES

PLAIN = {"plain": ARCHITECTURES["plain"]}


@pytest.fixture(scope="module")
def task() -> Task:
    x, y, x_val, y_val = data.digits("shifted", train=1200)
    return Task.of((x, y), (x_val, y_val))


def test_the_probe_takes_layers_and_refuses_what_is_none() -> None:
    assert all(probe(graph) for graph in known.values())
    nothing = {
        "constant": "y = mul x 0",
        "not finite": "y = div x 0",
        "not full size": "y = std-layer x",
        "not a number": "y = log 0",
    }
    assert not any(probe(graph_of(line)) for line in nothing.values())
    assert probe(graph_of("a = exp x", "b = exp a", "c = exp b")) is None  # finite in float64 alone


def test_a_factor_makes_no_other_function() -> None:
    plain, doubled = graph_of("y = tanh x"), graph_of("t = tanh x", "y = add t t")
    assert probe(plain) == probe(doubled) != probe(graph_of("y = sigmoid x"))
    idle = graph_of("a = exp x", "y = tanh x")
    assert probe(plain) == probe(idle)


def test_group_norm_with_relu_is_scored(task: Task) -> None:
    outcome = try_out(known["group-norm-relu"], PLAIN, task, Protocol(steps=40, stability_steps=2), seed=0)
    assert outcome.fate == "scored"
    assert outcome.scores[0] > 0.2


def test_no_signal(task: Task) -> None:
    tiny = graph_of("s = square x", "q = square s", "y = square q")
    assert try_out(tiny, PLAIN, task, Protocol(), seed=0).fate == "signal"


def test_no_quality_is_given_up_early(task: Task) -> None:
    hopeless = Protocol(abort_loss=0.01, abort_step=2, steps=10**6)  # would take hours, were it not given up
    assert try_out(known["evonorm-s0"], PLAIN, task, hopeless, seed=0).fate == "quality"
    strict = Protocol(quality=1.1, abort_step=0, steps=2)
    assert try_out(known["evonorm-s0"], PLAIN, task, strict, seed=0).fate == "quality"


def test_divergence_is_no_quality(task: Task) -> None:
    assert try_out(known["evonorm-s0"], PLAIN, task, Protocol(lr=1e30, steps=5), seed=0).fate == "quality"


def test_a_layer_that_amplifies_is_unstable(task: Task) -> None:
    loose = {"steps": 2, "abort_step": 0, "quality": -1.0}
    assert try_out(known["evonorm-s0"], PLAIN, task, Protocol(**loose), seed=0).fate == "scored"
    steep = graph_of("s = rms-group x", "d = div x s", "q = square d", "y = mul q x")
    assert try_out(steep, PLAIN, task, Protocol(**loose, spread=(0.0, 1e30)), seed=0).fate == "unstable"


def test_the_outcome_follows_from_the_seed_alone(task: Task) -> None:
    short = Protocol(steps=3, abort_step=0, quality=-1.0, stability_steps=1)
    found = []
    for _ in range(2):
        torch.rand(7)
        found.append(try_out(known["evonorm-s0"], ARCHITECTURES, task, short, seed=5))
    assert found[0] == found[1]
    state = torch.get_rng_state()
    try_out(known["evonorm-s0"], PLAIN, task, short, seed=6)
    assert torch.equal(state, torch.get_rng_state())


def test_data_of_another_shape_is_refused() -> None:
    x, y = torch.zeros(4, 1, 8, 8), torch.zeros(4)
    for train, val, said in (
        ((x[0], y), (x, y), r"train: images must be \(N, channels"),
        ((x, y), (x, y[:2]), "val: 4 images need as many labels"),
        ((x, y - 1), (x, y), "train: labels must be whole numbers 0, 1, …; got int64, the least -1"),
        ((x, y), (x, y + 0.7), "val: labels must be whole numbers 0, 1, …; got 0.7"),
        ((x, y), (x.index_fill(0, torch.tensor([1, 3]), torch.nan), y), "val: 2 of 4 images hold NaN or inf"),
        ((x, y), (x[..., 1:], y), r"train has images .* \(1, 8, 8\) and val \(1, 8, 7\): they must be alike"),
        ((x, y), (x.expand(4, 3, 8, 8), y), r"train has images .* \(1, 8, 8\) and val \(3, 8, 8\)"),
    ):
        with pytest.raises(ValueError, match=said):
            Task.of(train, val)
    with pytest.raises(ValueError, match=r"train: labels .*; got float64, the least 0\.5"):
        Task(x.numpy(), y.double().numpy() + 0.5, x.numpy(), y.long().numpy())
    with pytest.raises(ValueError, match="seed is -1: it must be 0 or more"):
        Task.held_out(torch.zeros(9, 1, 8, 8), torch.zeros(9), seed=-1)
