import pytest
import torch

from normkit.search import Protocol, Task, graph_of, judge, known, rerank
from tests.search.test_evolution import pictures

SHORT = Protocol(steps=6, batch_size=16)


def test_graphs_are_ranked_by_their_mean_over_networks_and_seeds() -> None:
    task = Task.of(pictures(), pictures(32))
    graphs = [graph_of("y = mul x x"), known["group-norm-relu"], known["group-norm-relu"]]
    ranked = rerank(graphs, task, architectures=["plain", "mb"], seeds=(1, 2), protocol=SHORT)
    assert len(ranked) == 2
    assert ranked[0].mean >= ranked[1].mean
    assert all(each.scores.keys() == {"plain", "mb"} for each in ranked)
    assert ranked == rerank(graphs[::-1], task, architectures=["plain", "mb"], seeds=(1, 2), protocol=SHORT)


def test_a_layer_that_is_no_graph_is_judged_alike() -> None:
    task = Task.of(pictures(), pictures(32))

    def twin(channels: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.GroupNorm(4, channels), torch.nn.ReLU())

    options = {"architectures": 1, "seeds": (1,), "protocol": SHORT}
    (ranked,) = rerank([known["group-norm-relu"]], task, **options)
    assert judge(twin, task, **options)["plain"] == pytest.approx(ranked.scores["plain"], abs=0.1)


def test_nothing_to_rank_is_refused() -> None:
    task = Task.of(pictures(), pictures(32))
    with pytest.raises(ValueError, match="0 graphs and 3 seeds"):
        rerank([], task)
