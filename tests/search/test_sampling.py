from collections import Counter

import numpy as np
import pytest

from normkit.nn.graph import LEAVES
from normkit.nn.primitives import OPERATIONS, is_binary
from normkit.search import graph_of, known, mutate, tree, uniform
from normkit.search.sampling import operations

ALL = operations("B")


@pytest.mark.parametrize("sampler", [tree, uniform])
def test_a_seed_is_a_graph(sampler) -> None:
    draws = [sampler(np.random.default_rng(seed), ALL) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert all(len(graph.nodes) == 10 for graph in draws)


def test_series_s_has_no_batch_statistics() -> None:
    ops = operations("S")
    assert set(ALL) - set(ops) == {12, 16, 20}
    rng = np.random.default_rng(0)
    assert not any(sampler(rng, ops).moments("batch") for sampler in (tree, uniform) for _ in range(200))


def test_trees_are_shallow_expressions_of_x_with_nothing_idle_inside() -> None:
    rng = np.random.default_rng(0)
    graphs = [tree(rng, ALL) for _ in range(400)]
    for graph in graphs:
        depth: dict[int, int] = {}
        for index in graph.reachable:
            depth[index] = 1 + max((depth[operand] for operand in graph.operands(index)), default=-1)
        assert 1 <= depth[graph.output] <= 3
        assert 2 not in graph.reachable  # no leaf is v0
    roots = Counter(is_binary(graph.nodes[-1][0]) for graph in graphs)
    assert 0.4 < roots[True] / 400 < 0.6
    assert np.mean([graph.reads_input for graph in graphs]) > 0.8


def test_uniform_graphs_seldom_reach_the_input() -> None:
    rng = np.random.default_rng(0)
    assert 0.2 < np.mean([uniform(rng, ALL).reads_input for _ in range(400)]) < 0.5


@pytest.mark.parametrize("whole", [0.0, 1.0])
def test_a_mutation_changes_one_node(whole: float) -> None:
    rng, parent = np.random.default_rng(0), known["evonorm-b0"]
    changed = []
    for _ in range(200):
        child = mutate(parent, rng, ALL, focus=0.7, whole=whole)
        places = [place for place, (a, b) in enumerate(zip(parent.nodes, child.nodes, strict=True)) if a != b]
        assert len(places) <= 1
        changed += places
        if whole == 0 and places:
            (op, *operands), (new_op, *new_operands) = parent.nodes[places[0]], child.nodes[places[0]]
            assert op == new_op or operands == new_operands
    active = {index - len(LEAVES) for index in parent.reachable}
    assert 0.7 < np.mean([place in active for place in changed]) < 0.95  # 0.7 + 0.3 · 6/10


def test_focus_leaves_idle_nodes_alone() -> None:
    rng, parent = np.random.default_rng(0), known["evonorm-s0"]
    for _ in range(50):
        child = mutate(parent, rng, ALL, focus=1.0, whole=1.0)
        assert child.nodes[4:9] == parent.nodes[4:9]


def test_operations_by_name_and_number() -> None:
    assert operations(["add", 5, "std-group"]) == (0, 5, 23)
    graph = tree(np.random.default_rng(0), operations(["div", "std-group"]))
    assert {graph.operation(index) for index in graph.reachable if index >= 4} <= {"div", "std-group"}
    wrong = {"ops='C'": "C", "no operation 24": [24], "no operation 'nothing'": ["nothing"], "empty": []}
    for said, ops in wrong.items():
        with pytest.raises(ValueError, match=said):
            operations(ops)
    assert len(OPERATIONS) == 24


def test_graphs_from_lines() -> None:
    graph = graph_of("s = rms-group x", "y = div x s")
    assert graph.nodes[0] == (19, 0, 0)
    assert graph.nodes[-1] == (2, 0, 4)
    wrong = {"y = div x": "div got 1 operands", "y = grow x": "is no node", "y = add x z": "is no node"}
    for line, said in wrong.items():
        with pytest.raises(ValueError, match=said):
            graph_of(line)
    with pytest.raises(ValueError, match="0 lines"):
        graph_of()
