"""The recurrent classifier: the linear layer of the last step's output, and what it refuses."""

import pytest
import torch
from torch import nn

from normkit.models import RecurrentClassifier
from normkit.nn import LayerNormGRU


@pytest.mark.parametrize("make", [nn.LSTM, nn.RNN, LayerNormGRU])
def test_it_reads_the_last_step(make: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    model, x = RecurrentClassifier(make(3, 5, batch_first=True), classes=4), torch.randn(2, 7, 3)
    wanted = model.layer(x)[0][:, 6] @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(x), wanted)
    assert model(x).shape == (2, 4)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_projected_states_fit_the_head() -> None:
    model = RecurrentClassifier(nn.LSTM(3, 5, batch_first=True, proj_size=2))
    assert model(torch.randn(2, 7, 3)).shape == (2, 10)


@pytest.mark.parametrize("options", [{}, {"batch_first": True, "bidirectional": True}])
def test_another_layout_is_refused(options: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="batch_first=True and bidirectional=False, got"):
        RecurrentClassifier(nn.LSTM(3, 5, **options))
