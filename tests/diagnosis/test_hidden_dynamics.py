"""Hidden dynamics: the figures are those of the states, the threshold is the norm's own law, the advice is one line."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from normkit.diagnosis import diagnose, monitor
from normkit.diagnosis.hidden_dynamics import HiddenDynamics, saturated_share, through_time
from normkit.models import RecurrentClassifier
from normkit.nn import LayerNormGRU, LayerNormLSTM, LayerNormRNN

LAYERS = (nn.RNN, nn.GRU, nn.LSTM, LayerNormRNN, LayerNormGRU, LayerNormLSTM)


def examined(model, *batches):
    return diagnose(model, batches, probes="hidden-dynamics")["hidden-dynamics"]


def scaled(make, scale, width=64, **options):
    """A layer whose recurrent weights have `scale` times the deviation 1/√width."""
    torch.manual_seed(0)
    layer = make(width, width, **options)
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").normal_(std=scale * width**-0.5)
        layer.get_parameter("weight_ih_l0").normal_(std=width**-0.5)
    return layer


class Read(nn.Module):
    """Nothing but the layer, of which it gives the output."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        output, _ = self.layer(x)
        return output if isinstance(output, torch.Tensor) else output.data


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("make", LAYERS)
def test_the_figures_are_those_of_the_states(make, batch_first):
    layer = scaled(make, 4.0, batch_first=batch_first)
    x = torch.randn(6, 5, 64)
    site = examined(Read(layer), x, 2 * x).sites[0]
    states = torch.stack([layer(each)[0] for each in (x, 2 * x)]).detach()
    assert site.figure == pytest.approx((states.abs() > 0.99).double().mean().item(), abs=1e-12)
    assert site.detail["steps"] == (5 if batch_first else 6)
    first, last = (states.select(2 if batch_first else 1, place) for place in (0, -1))
    assert site.detail["rms_first"] == pytest.approx(first.square().mean().sqrt().item(), rel=1e-5)
    assert site.detail["rms_last"] == pytest.approx(last.square().mean().sqrt().item(), rel=1e-5)


@pytest.mark.parametrize("make", LAYERS)
def test_the_gain_is_the_gradient_by_differences(make):
    """The derivative of L along the gradient itself is its length."""
    torch.manual_seed(0)
    layer, x = make(3, 4).double(), torch.randn(5, 2, 3, dtype=torch.float64)
    states = 2 if "LSTM" in make.__name__ else 1

    def loss(start):
        last = layer(x, tuple(start) if states == 2 else start[0])[1]
        return ((last[0] if states == 2 else last).square().sum() / 2).item()

    at = [torch.zeros(1, 2, 4, dtype=torch.float64) for _ in range(states)]
    directions = [torch.eye(8, dtype=torch.float64).view(8, 1, 2, 4) for _ in range(states)]
    slopes = []
    for place, basis in enumerate(directions):
        for step in 1e-6 * basis:
            moved = [[each + sign * step if place == i else each for i, each in enumerate(at)] for sign in (1, -1)]
            slopes.append((loss(moved[0]) - loss(moved[1])) / 2e-6)
    found = through_time(layer, x)
    assert found.gradient == pytest.approx(math.hypot(*slopes), rel=1e-6)
    assert found.state == pytest.approx(math.sqrt(2 * loss(at)), rel=1e-9)
    assert all(parameter.grad is None for parameter in layer.parameters())


@pytest.mark.parametrize(("scale", "plain"), [(0.5, "ok"), (1.0, "ok"), (2.0, "act"), (4.0, "act")])
def test_act_begins_between_one_and_two_times_the_usual_weights_and_never_with_the_norm(scale, plain):
    layer, x = scaled(nn.RNN, scale), torch.randn(50, 16, 64)
    assert examined(Read(layer), x).severity == plain
    normalized = examined(Read(LayerNormRNN.from_torch(layer)), x)
    assert normalized.severity == "ok"
    assert normalized.figure == pytest.approx(HiddenDynamics.threshold / 10, rel=0.25)  # the law of the threshold


def test_the_advice_is_the_line_that_puts_the_norms_in():
    model = RecurrentClassifier(scaled(nn.RNN, 4.0, batch_first=True))
    finding = examined(model, torch.randn(16, 30, 64))
    (remedy,) = finding.remedies
    assert (remedy.to, remedy.kind) == (("layer-norm-rnn",), "advice")
    import normkit

    exec(remedy.python, {"model": model, "normkit": normkit})
    assert isinstance(model.layer, LayerNormRNN)
    assert examined(model, torch.randn(16, 30, 64)).severity == "ok"


def test_a_gradient_that_explodes_is_watched_and_one_that_vanishes_reported():
    """A ReLU network saturates nowhere: W = 4 I multiplies the state, and the gradient, by 4 a step."""
    layer = nn.RNN(4, 4, nonlinearity="relu", bias=False)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(4 * torch.eye(4))
        layer.weight_ih_l0.copy_(torch.eye(4))
    x = torch.rand(12, 2, 4) + 0.1
    finding = examined(Read(layer), x)
    assert (finding.severity, finding.figure) == ("watch", 0.0)
    assert finding.sites[0].detail["gain"] == pytest.approx(4.0**12, rel=1e-4)
    assert "becomes 1.7e+07 of itself" in finding.summary
    with torch.no_grad():
        layer.weight_hh_l0.copy_(0.1 * torch.eye(4))
    small = examined(Read(layer), x)
    assert small.severity == "ok"
    assert small.sites[0].detail["gain"] == pytest.approx(0.1**12, rel=1e-4)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_packed_and_unbatched_sequences_and_two_directions():
    torch.manual_seed(0)
    layer = nn.GRU(3, 4, 2, bidirectional=True)
    packed = pack_sequence([torch.randn(5, 3), torch.randn(2, 3)])
    site = examined(Packed(layer), torch.zeros(1)).sites[0]
    assert site.detail["steps"] == 5
    assert examined(Read(layer), torch.randn(5, 3)).sites[0].detail["steps"] == 5
    assert through_time(layer, packed).gradient > 0
    assert through_time(nn.LSTM(3, 4, proj_size=2), torch.randn(5, 2, 3)).gradient > 0


class Packed(nn.Module):
    """Runs its layer on packed sequences of its own."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(pack_sequence([torch.ones(5, 3), torch.ones(2, 3)]))[0].data + x


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_projected_lstm_has_no_layer_to_advise():
    projected = nn.LSTM(4, 8, proj_size=4)
    with torch.no_grad():
        for parameter in projected.parameters():
            parameter.mul_(400)
    finding = examined(Read(projected), torch.randn(20, 8, 4))
    assert finding.severity == "act"
    assert finding.remedies == ()


def test_a_monitored_network_is_not_run_once_more():
    model = RecurrentClassifier(nn.GRU(3, 8, batch_first=True))
    calls = []
    model.layer.register_forward_hook(lambda *_: calls.append(1))
    with monitor(model.train(), every=2, probes="hidden-dynamics") as watch:
        for _ in range(2):
            model(torch.randn(4, 6, 3))
    assert len(calls) == 2
    assert watch.diagnosis()["hidden-dynamics"].sites[0].detail["gain"] is None


def test_without_recurrent_layers_it_is_skipped():
    skipped = diagnose(nn.Linear(3, 2), [torch.randn(4, 3)], probes="hidden-dynamics").skipped[0]
    assert "no recurrent layer" in skipped.reason


def test_the_share_of_saturated_entries():
    assert saturated_share(torch.tensor([0.98, -0.991, 0.995, 0.0])) == 0.5
