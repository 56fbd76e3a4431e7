import pytest
import torch

from normkit.nn.graph import Graph, evaluate
from normkit.nn.primitives import OPERATIONS, moment_of
from normkit.search import graph_of, known

GROUPS = 2
DIMS = {"batch": (0, 2, 3), "instance": (2, 3), "layer": (1, 2, 3)}


def maps() -> torch.Tensor:
    return torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def wanted(name: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Each operation once more, by other torch calls."""
    what = moment_of(OPERATIONS.index(name))
    if what is None:
        return {
            "add": lambda: a - (-b),
            "mul": lambda: torch.exp(a.abs().log() + b.abs().log()) * a.sign() * b.sign(),
            "div": lambda: a * b**-1,
            "max": lambda: torch.where(a > b, a, b),
            "neg": lambda: 0 - a,
            "sigmoid": lambda: 1 / (1 + (-a).exp()),
            "tanh": lambda: 2 / (1 + (-2 * a).exp()) - 1,
            "exp": lambda: 2 ** (a / torch.log(torch.tensor(2.0, dtype=a.dtype))),
            "log": lambda: torch.where(a > 0, a.abs().log(), -a.abs().log()),
            "abs": lambda: torch.where(a > 0, a, -a),
            "square": lambda: a * a,
            "sqrt": lambda: torch.where(a > 0, 1.0, -1.0) * a.abs() ** 0.5,
        }[name]()
    kind, axes = what
    if axes == "group":
        halves = [wanted(f"{kind}-layer", half, half).expand(-1, 2, 1, 1) for half in a.split(2, dim=1)]
        return torch.cat(halves, 1)
    mean, square = a.mean(DIMS[axes], keepdim=True), (a**2).mean(DIMS[axes], keepdim=True)
    return {"mean": mean, "rms": (square + 1e-5) ** 0.5, "std": (square - mean**2 + 1e-5) ** 0.5}[kind]


@pytest.mark.parametrize("operation", range(len(OPERATIONS)), ids=OPERATIONS)
def test_each_operation(operation: int) -> None:
    x, v1 = maps(), torch.tensor([0.5, -1.0, 2.0, 1.5], dtype=torch.float64)
    y = evaluate(Graph([(operation, 0, 3)]), x, None, v1, GROUPS)
    torch.testing.assert_close(y, wanted(OPERATIONS[operation], x, v1.reshape(1, 4, 1, 1).expand(x.shape)))


@pytest.mark.parametrize("operation", range(12, 24), ids=OPERATIONS[12:])
def test_a_moment_expands_what_is_not_full_size(operation: int) -> None:
    v1 = torch.tensor([0.5, -1.0, 2.0, 1.5], dtype=torch.float64)
    y = evaluate(Graph([(operation, 3, 0)]), maps(), None, v1, GROUPS)
    torch.testing.assert_close(y, wanted(OPERATIONS[operation], v1.reshape(1, 4, 1, 1).expand(3, 4, 5, 6), v1))


def test_log_of_zero_is_not_a_number() -> None:
    assert evaluate(graph_of("a = log 0"), maps(), None, None, GROUPS).isnan().all()


def test_only_what_the_output_reads_is_reachable() -> None:
    graph = Graph([(6, 0, 0), (7, 1, 0), (2, 4, 3)])
    assert graph.reachable == (0, 3, 4, 6)
    assert graph.active == (True, False, False, True, True, False, True)
    assert graph.reads_input
    assert not Graph([(6, 0, 0), (7, 1, 0)]).reads_input


def test_one_dimensional_signals_too() -> None:
    x = maps()[..., 0]
    y = evaluate(known["evonorm-s0"], x, None, None, GROUPS)
    torch.testing.assert_close(y, evaluate(known["evonorm-s0"], x[..., None], None, None, GROUPS)[..., 0])


def test_formulas_read_as_people_write_them() -> None:
    assert str(known["evonorm-s0"]) == "(x · σ(v1 · x)) / std_group(x)"
    assert str(known["batch-norm-relu"]) == "max((x − mean_batch(x)) / std_batch(x), 0)"
    assert str(known["evonorm-b1"]) == "x / max(std_batch(x), (x · t) + t), t = rms_instance(x)"
    assert str(graph_of("s = add x v1", "q = square s", "n = neg q", "d = div n s")) == "(−t²) / t, t = x + v1"


def test_equal_graphs_are_one() -> None:
    twin = Graph(known["evonorm-s0"].to_list())
    assert twin == known["evonorm-s0"]
    assert len({twin, known["evonorm-s0"], known["evonorm-s1"]}) == 2
    assert eval(repr(twin), {"Graph": Graph}) == twin


def test_mistakes_are_named() -> None:
    for nodes, said in (
        ([], "at least one node"),
        ([(24, 0, 0)], "node 4: there is no operation 24; they go from 0 to 23"),
        ([(-1, 0, 0)], "there is no operation -1"),
        ([(0, 0, 4)], r"node 4 \(add\) reads node 4: operands stand before their node, from 0 to 3"),
        ([(4, 0, 0), (6, 6, 0)], r"node 5 \(tanh\) reads node 6"),
        ([(0, 0)], r"three whole numbers \(operation, a, b\), got \(0, 0\)"),
        ([(0, 0, 0.5)], "three whole numbers"),
        ([7], "three whole numbers"),
    ):
        with pytest.raises(ValueError, match=said):
            Graph(nodes)
    assert Graph([(4, 0, 99)]).reachable == (0, 4)  # a unary operation has no second operand
