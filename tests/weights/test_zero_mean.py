"""Zero-mean writers: LayerNorm and RMSNorm stay equal along training, and a single recentring does not do."""

import copy

import pytest
import torch
from torch import Tensor, nn

from normkit.nn import LayerNorm, RMSNorm
from normkit.surgery.zero_mean import recentre
from normkit.weights import ZeroMeanEmbedding, ZeroMeanLinear, zero_mean_output


class Residual(nn.Module):
    """A pre-norm residual network over a table of vectors."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8, dtype=torch.float64)
        self.blocks = nn.ModuleList(
            nn.ModuleList([norm(8, 1e-5, dtype=torch.float64), *(nn.Linear(8, 8).double() for _ in range(2))])
            for _ in range(3)
        )
        self.norm = norm(8, 1e-5, dtype=torch.float64)
        self.head = nn.Linear(8, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        stream = self.table(x)
        for norm, inner, writer in self.blocks:
            stream = stream + writer(torch.relu(inner(norm(stream))))
        return self.head(self.norm(stream))

    def writers(self) -> list[nn.Module]:
        return [self.table, *(block[2] for block in self.blocks)]


def rms_twin(model: Residual) -> Residual:
    twin = Residual(lambda width, eps, dtype: RMSNorm(width, eps, bias=True, dtype=dtype))
    twin.load_state_dict(model.state_dict())
    return twin


def losses(model: nn.Module, optimizer: type[torch.optim.Optimizer], **options: float) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    steps = optimizer(model.parameters(), **options)
    history = []
    for _ in range(60):
        x, y = (torch.randint(0, high, (16,), generator=draw) for high in (11, 4))
        loss = nn.functional.cross_entropy(model(x), y)
        steps.zero_grad()
        loss.backward()
        steps.step()
        history.append(loss.detach())
    return torch.stack(history)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}), (torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1})],
)
def test_training_follows_the_layernorm_network(
    optimizer: type[torch.optim.Optimizer], options: dict[str, float]
) -> None:
    model = Residual(LayerNorm)
    free, once = rms_twin(model), rms_twin(model)
    for writer in free.writers():
        zero_mean_output(writer)
    with torch.no_grad():
        for writer in once.writers():
            axis = -1 if isinstance(writer, nn.Embedding) else 0
            writer.weight.copy_(recentre(writer.weight, axis))
            if axis == 0:
                writer.bias.copy_(recentre(writer.bias))
    wanted = losses(copy.deepcopy(model), optimizer, **options)
    assert (losses(free, optimizer, **options) - wanted).abs().max() < 1e-10
    assert (losses(once, optimizer, **options) - wanted).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("module", "x"),
    [(ZeroMeanLinear(5, 7), torch.randn(3, 5)), (ZeroMeanEmbedding(5, 7), torch.tensor([[1, 4], [0, 2]]))],
)
def test_outputs_have_mean_zero(module: nn.Module, x: Tensor) -> None:
    torch.testing.assert_close(module(x).mean(-1), torch.zeros(module(x).shape[:-1]), rtol=0, atol=1e-6)


def test_another_axis_can_be_named() -> None:
    """As for Hugging Face's Conv1D, whose weight is (inputs, outputs)."""
    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(3, 5))
    torch.testing.assert_close(zero_mean_output(module, dim=1).weight.mean(1), torch.zeros(3), rtol=0, atol=1e-6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="ReLU has no weight"):
        zero_mean_output(nn.ReLU())
    with pytest.raises(ValueError, match="which axis of Bilinear's weight counts the outputs"):
        zero_mean_output(nn.Bilinear(2, 2, 2))
    with pytest.raises(ValueError, match="weight is parametrised already; bake it first"):
        zero_mean_output(zero_mean_output(nn.Linear(2, 2)))
