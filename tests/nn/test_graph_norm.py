import pytest
import torch

from normkit.nn import EvoNorm2dB0, EvoNorm2dS0, GraphNorm2d
from normkit.search import graph_of, known

F64 = torch.float64


def maps(seed: int = 0, offset: float = 0.0) -> torch.Tensor:
    return offset + torch.randn(6, 8, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=F64)


PUBLISHED = {
    "evonorm-s0": EvoNorm2dS0(8, 4, dtype=F64),
    "evonorm-b0": EvoNorm2dB0(8, eps=1e-5, dtype=F64),
}


@pytest.mark.parametrize(("name", "layer"), PUBLISHED.items())
def test_the_graph_of_a_published_layer_computes_that_layer(name: str, layer: torch.nn.Module) -> None:
    ours = GraphNorm2d(known[name], 8, 4, dtype=F64)
    with torch.no_grad():
        for mine, theirs in ((ours.weight, layer.weight), (ours.bias, layer.bias), (ours.v1, layer.v)):
            mine.copy_(theirs.normal_())
    torch.testing.assert_close(ours(maps()), layer(maps()))


def test_batch_norm_with_relu_in_training_and_evaluation() -> None:
    ours = GraphNorm2d(known["batch-norm-relu"], 8, momentum=1.0, dtype=F64)
    torch.testing.assert_close(ours(maps()), torch.nn.BatchNorm2d(8, dtype=F64)(maps()).relu())
    x, other = maps(), maps(1)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(ours.eval()(other), ((other - mean) / (variance + 1e-5).sqrt()).relu())


def test_running_statistics_are_averages_of_mean_and_mean_square() -> None:
    layer = GraphNorm2d(graph_of("r = rms-batch x", "d = div x r"), 8, momentum=0.3, dtype=F64)
    mean, square = torch.zeros(8, dtype=F64), torch.ones(8, dtype=F64)
    for seed in range(5):
        x = maps(seed, offset=seed)
        layer(x)
        mean, square = 0.7 * mean + 0.3 * x.mean((0, 2, 3)), 0.7 * square + 0.3 * (x**2).mean((0, 2, 3))
    torch.testing.assert_close(layer.running_mean[0], mean)
    torch.testing.assert_close(layer.running_var[0] + mean**2, square)
    x = maps(9)
    torch.testing.assert_close(layer.eval()(x), x / (square + 1e-5).sqrt().reshape(1, 8, 1, 1))


def test_a_far_mean_costs_no_digits() -> None:
    layer = GraphNorm2d(known["batch-norm-relu"], 8, momentum=0.5)
    for seed in range(30):
        layer(maps(seed, offset=1e4).float())
    exact = GraphNorm2d(known["batch-norm-relu"], 8, momentum=0.5, dtype=F64)
    for seed in range(30):
        exact(maps(seed, offset=1e4))
    torch.testing.assert_close(layer.running_var.double(), exact.running_var, rtol=2e-2, atol=0)


def test_every_batch_moment_has_a_row_of_its_own() -> None:
    layer = GraphNorm2d(graph_of("t = tanh x", "a = std-batch x", "b = rms-batch t", "p = mul a b", "d = div t p"), 8)
    assert layer.running_mean.shape == (2, 8)
    layer(maps().float())
    torch.testing.assert_close(layer.running_mean[1], 0.1 * maps().tanh().mean((0, 2, 3)).float())


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="6 channels cannot be cut into 4 groups"):
        GraphNorm2d(known["evonorm-s0"], 6, 4)
    assert GraphNorm2d(known["evonorm-b0"], 6, 4)(torch.randn(2, 6, 3, 3)).shape == (2, 6, 3, 3)  # has no groups
    with pytest.raises(ValueError, match="there is no operation 99"):
        GraphNorm2d([(99, 0, 0)], 4)
    with pytest.raises(ValueError, match="operands stand before their node"):
        GraphNorm2d([(4, 5, 0), (4, 4, 0)], 4)
    with pytest.raises(ValueError, match="momentum must lie in"):
        GraphNorm2d(known["evonorm-b0"], 4, momentum=2.0)
    with pytest.raises(ValueError, match=r"input must be \(batch, channels, height, width\)"):
        GraphNorm2d(known["evonorm-b0"], 4)(torch.randn(2, 4))
    with pytest.raises(ValueError, match="needs more than one value a channel"):
        GraphNorm2d(known["evonorm-b0"], 4)(torch.randn(1, 4, 1, 1))
    assert GraphNorm2d(known["evonorm-b0"], 4).eval()(torch.randn(1, 4, 1, 1)).isfinite().all()
