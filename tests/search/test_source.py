import re
from typing import Any

import pytest
import torch

from normkit.nn import GraphNorm2d
from normkit.nn.primitives import OPERATIONS
from normkit.search import Graph, graph_of, known, source

GRAPHS = {
    **known,
    **{name: Graph([(index, 0, 3), (0, 4, 2)]) for index, name in enumerate(OPERATIONS)},
    "two batch moments": graph_of(
        "t = tanh x", "a = std-batch x", "b = mean-batch t", "p = mul a v1", "d = add p b", "y = div x d"
    ),
}


def built(graph: Graph, *arguments: Any) -> torch.nn.Module:
    scope: dict[str, Any] = {}
    exec(compile(source(graph, "Evolved"), "evolved.py", "exec"), scope)
    return scope["Evolved"](*arguments)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_source_computes_what_the_layer_does(name: str) -> None:
    ours, theirs = GraphNorm2d(GRAPHS[name], 8, 4).double(), built(GRAPHS[name], 8, 4).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for seed in range(3):
        x = torch.randn(3, 8, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        torch.testing.assert_close(theirs(x), ours(x), equal_nan=True)
    torch.testing.assert_close(theirs.eval()(x), ours.eval()(x), equal_nan=True)


def test_it_needs_torch_alone_and_reads_well() -> None:
    for graph in GRAPHS.values():
        text = source(graph)
        assert re.findall(r"^(?:import|from) .*", text, re.MULTILINE) == ["import torch", "from torch import nn"]
        assert max(map(len, text.splitlines()[1:])) <= 120
        assert text.startswith(f'"""{graph.formula()}\n')


def test_half_precision_keeps_its_statistics() -> None:
    layer = built(known["evonorm-b0"], 8)
    x = torch.randn(3, 8, 4, 5)
    assert layer(x.half()).dtype == torch.float16
    torch.testing.assert_close(layer(x.half()).float(), layer(x), atol=1e-2, rtol=1e-2)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="'Evolved Norm' is no name of a class"):
        source(known["evonorm-s0"], "Evolved Norm")
    with pytest.raises(ValueError, match="6 channels cannot be cut into 4 groups"):
        built(known["evonorm-s0"], 6, 4)
