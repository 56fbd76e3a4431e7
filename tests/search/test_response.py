import pytest
import torch

from normkit.report import new_figure, svg
from normkit.search import divides_by_second_moment, draw, graph_of, known, nonlinearity, response


def test_the_response_of_layers_is_that_of_their_equation() -> None:
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    torch.testing.assert_close(response(known["batch-norm-relu"], x), x.relu(), atol=0.05, rtol=0.05)
    torch.testing.assert_close(response(known["evonorm-s1"], x), x * x.sigmoid(), atol=0.05, rtol=0.05)


def test_what_is_non_linear() -> None:
    assert nonlinearity(graph_of("s = rms-instance x", "y = div x s")) < 0.01
    assert nonlinearity(graph_of("q = div x x", "s = std-group x", "r = div q s", "y = mul x r")) < 0.01
    assert nonlinearity(known["batch-norm-relu"]) == pytest.approx(0.25, abs=0.02)
    assert nonlinearity(graph_of("t = tanh x", "s = rms-batch t", "y = div x s")) < 0.01  # only its scale is


def test_what_divides_by_a_second_moment() -> None:
    assert all(map(divides_by_second_moment, known.values()))
    assert not divides_by_second_moment(graph_of("m = mean-layer x", "y = div x m"))
    assert not divides_by_second_moment(graph_of("s = std-layer x", "y = mul x s"))
    assert not divides_by_second_moment(graph_of("s = std-layer x", "d = div x s", "y = tanh x"))  # is not reached
    assert divides_by_second_moment(graph_of("s = std-layer x", "n = neg s", "y = div x n"))


@pytest.mark.parametrize("name", known)
def test_a_drawing_shows_every_reachable_node(name: str) -> None:
    graph = known[name]
    figure, axes = new_figure(4.0, 4.0)
    draw(graph, axes)
    boxes = [text for text in axes.texts if text.get_bbox_patch() is not None]
    assert len(boxes) == len(graph.reachable)
    assert len({text.get_position() for text in boxes}) == len(boxes)
    assert len(axes.patches) == sum(len(graph.operands(index)) for index in graph.reachable)
    assert svg(figure).startswith("<svg")
