"""Hidden dynamics: recurrent layers whose units sit in the flat part of tanh, and gradients that grow through time.

For the states h_t that a recurrent layer gives, over all units, cases and steps:

- saturated: the share with |h| > 0.99. tanh'(z) = 1 − h² is below 2 % there: such a unit passes no gradient on;
- `rms_first`, `rms_last`: root mean square of h at the first and at the last step, forward direction;
- `gain`: ‖∂L/∂h₀‖/‖h_T‖ with L = ½‖h_T‖² (for an LSTM of the state and the cell together): what a gradient of length 1
  at the last step has become at the first. The layer runs for it once more from a state of zeros, on at most 32 cases.

**Figure and threshold.** The share of saturated units. Layer normalisation with γ = 1, β = 0 gives tanh sums of mean 0
and variance 1, of which 2 (1 − Φ(artanh 0.99)) = 0.81 % saturate under a normal law, whatever the weights' scale and
the number of steps; `act` above ten times that, 8.1 %. A tanh network of 64 units fed with noise, whose recurrent
weights have s times the deviation 1/√64, saturates 1.5 % of its units at s = ½, 3 % at 1, 15 % at 2 and 46 % at 4, and
0.7 to 0.8 % at each of them with the norm.

`watch` where the gain is above 10⁶. No paper draws that line: in the same sweep, over 100 steps, the layer-normalised
RNN, GRU and LSTM stay below 10⁵ and the plain tanh network at s = 4 reaches 10¹⁷. Gradients that vanish are reported
as a gain and not judged: layers as their libraries build them have gains of 10⁻²⁰ over 100 steps of noise.

**Where.** Layers (not cells) of `torch.nn` and of `normkit.nn`; of a stack the last layer's states, of gated layers h
itself and not the gates. With ReLU nothing saturates, and the gain alone is judged.

Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450, section 3.1 (what the sums of a recurrent network do without norms).
"""

from statistics import NormalDist
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site
from normkit.diagnosis._framework.probe import ModuleProbe, Place
from normkit.diagnosis._framework.remedy import Remedy
from normkit.nn import LayerNormGRU, LayerNormLSTM, LayerNormRNN

__all__ = ["SATURATED", "HiddenDynamics", "ThroughTime", "saturated_share", "through_time"]

SATURATED = 0.99
_CASES = 32
_NORMALIZED = {nn.RNN: LayerNormRNN, nn.GRU: LayerNormGRU, nn.LSTM: LayerNormLSTM}
_ADVICE = {LayerNormRNN: "layer-norm-rnn", LayerNormGRU: "layer-norm-gru", LayerNormLSTM: "layer-norm-lstm"}
_NORMAL_SHARE = 2 * NormalDist().cdf(-float(torch.atanh(torch.tensor(SATURATED, dtype=torch.float64))))


class ThroughTime(NamedTuple):
    """What a layer gave, ‖∂L/∂h₀‖ for L = ½‖h_T‖², and ‖h_T‖; h of all layers and directions, with an LSTM's cell."""

    output: Tensor | PackedSequence
    gradient: float
    state: float


def saturated_share(h: Shaped[Tensor, "..."]) -> float:
    """The share of entries with |h| > 0.99."""
    return float((h.abs() > SATURATED).double().mean())


def through_time(layer: nn.RNNBase, x: Shaped[Tensor, "..."] | PackedSequence) -> ThroughTime:
    """Run a recurrent layer from a state of zeros, and ½‖h_T‖² back to that state.

    Args:
        layer: a recurrent layer of `torch.nn` or `normkit.nn`; no gradient of its own is touched.
        x: what it takes: padded, packed or unbatched.
    """
    start = tuple(each.requires_grad_() for each in _zeros(layer, x))
    # cuDNN walks back in training mode only.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        output, last = layer(x, start if layer.mode == "LSTM" else start[0])
        h = last[0] if layer.mode == "LSTM" else last
        gradients = torch.autograd.grad(h.double().square().sum() / 2, start)
    squares = sum(float(each.double().square().sum()) for each in gradients)
    return ThroughTime(output, squares**0.5, float(h.detach().double().norm()))


def _zeros(layer: nn.RNNBase, x: Tensor | PackedSequence) -> tuple[Tensor, ...]:
    data = x.data if isinstance(x, PackedSequence) else x
    if isinstance(x, PackedSequence):
        cases = [int(x.batch_sizes[0])]
    else:
        cases = [x.shape[0 if layer.batch_first else 1]] if x.ndim == 3 else []
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = (layer.proj_size or layer.hidden_size, layer.hidden_size)
    return tuple(data.new_zeros(layers, *cases, width) for width in widths[: 2 if layer.mode == "LSTM" else 1])


class HiddenDynamics(ModuleProbe):
    """Share of units with |h| > 0.99, and the gain of a gradient through time; threshold 8.1 %: see the module.

    Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450, section 3.1.
    """

    slug = "hidden-dynamics"
    pathology = "the states of a recurrent layer saturate, and its gradients grow or die through time"
    unit = "share of the states' entries"
    threshold = 10 * _NORMAL_SHARE
    threshold_source = "derived (normkit.diagnosis.hidden_dynamics): ten times the share under layer normalisation"
    rehearses: ClassVar[str] = (
        f"runs each recurrent layer once more, forward and backward, on at most {_CASES} cases of the first batch"
    )

    largest_gain = 1e6

    def begin(self, context: Context) -> str | None:
        """Whether there is a recurrent layer, and whether it may be run once more."""
        self._rehearse = not context.monitoring
        found = any(map(self.applies, context.model.modules()))
        return None if found else "the model has no recurrent layer (torch.nn.RNN, LSTM, GRU, or normkit's)"

    def applies(self, module: nn.Module) -> bool:
        """Recurrent layers."""
        return isinstance(module, nn.RNNBase)

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """Count the saturated entries; follow the states over the steps, and once a gradient against them."""
        layer, sums = place.module, place.sums
        assert isinstance(layer, nn.RNNBase)
        args, kwargs = place.arguments
        x = args[0] if args else kwargs["input"]
        sums["entries"] = sums.get("entries", 0) + output.numel()
        if layer.mode != "RNN_RELU":
            sums["saturated"] = sums.get("saturated", 0) + int((output.abs() > SATURATED).sum())
        steps = _steps(layer, x, output)
        for name, rows in (("first", steps[0]), ("last", steps[-1])):
            square, count = sums.get(name, (0.0, 0))
            sums[name] = (square + float(rows.double().square().sum()), count + rows.numel())
        sums["steps"] = max(sums.get("steps", 0), len(steps))
        if self._rehearse and "gain" not in sums:
            sums["gain"] = _gain(layer, x)

    def run(self, context: Context) -> Finding | str:
        """All layers, with the line that puts the norms in."""
        judged = [(place, site) for place in self.places.values() if (site := self.finding(place))]
        if not judged:
            return "no recurrent layer ran"
        sites = [site for _, site in judged]
        remedies = _advice([place for place, site in judged if site.severity != "ok"])
        return self.conclude(sites, summary=self.summary(sites), remedies=remedies)

    def finding(self, place: Place) -> Site | None:
        """One layer."""
        sums = place.sums
        if not sums.get("entries"):
            return None
        share = sums.get("saturated", 0) / sums["entries"]
        gain: float | None = sums.get("gain")
        severity: Severity = "ok"
        if share > self.threshold:
            severity = "act"
        elif gain is not None and not gain <= self.largest_gain:
            severity = "watch"
        first, last = ((square / count) ** 0.5 for square, count in (sums["first"], sums["last"]))
        detail = {"gain": gain, "steps": sums["steps"], "rms_first": first, "rms_last": last}
        return Site(place.name, share, severity, detail)

    def summary(self, sites: list[Site]) -> str:
        """One sentence."""
        top = max(sites, key=lambda site: site.figure)
        said = f"{top.figure:.1%} of the states of {top.path or 'the layer'} are saturated"
        gains = [site for site in sites if site.detail["gain"] is not None]
        if gains:
            steepest = max(gains, key=lambda site: site.detail["gain"])
            said += (
                f"; over {steepest.detail['steps']} steps of {steepest.path or 'the layer'} a gradient becomes "
                f"{steepest.detail['gain']:.1e} of itself"
            )
        return said


def _steps(layer: nn.RNNBase, x: Tensor | PackedSequence, output: Tensor) -> list[Tensor]:
    """The forward direction's states at each step, whatever the layout."""
    forward = output[..., : layer.proj_size or layer.hidden_size]
    if isinstance(x, PackedSequence):
        return list(forward.split(x.batch_sizes.tolist()))
    return list(forward.unbind(1 if layer.batch_first and forward.ndim == 3 else 0))


def _gain(layer: nn.RNNBase, x: Tensor | PackedSequence) -> float | None:
    """‖∂L/∂h₀‖/‖h_T‖; None where the last state is zero."""
    if isinstance(x, Tensor) and x.ndim == 3:
        x = x[:_CASES] if layer.batch_first else x[:, :_CASES]
    found = through_time(layer, x)
    return found.gradient / found.state if found.state > 0 else None


def _advice(places: list[Place]) -> tuple[Remedy, ...]:
    """The line that swaps in the layer with norms, for each of torch's layers that there is one for."""
    found: dict[str, Remedy] = {}
    for place in places:
        normalized = _NORMALIZED.get(type(place.module))
        if normalized is None or place.module.proj_size:
            continue
        target = f"model.{place.path}" if place.path else "model"
        line = f"{target} = normkit.nn.{normalized.__name__}.from_torch({target})  # then train"
        found[place.path] = Remedy((_ADVICE[normalized],), "advice", line)
    return tuple(found.values())
