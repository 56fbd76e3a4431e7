"""Which features a network has switched off: channels whose γ is (nearly) zero, told layer by layer, and pruned.

Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm", arXiv:2003.00152, section 5.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normkit.surgery import call
from normkit.surgery.tracing import tensors
from normkit.weights.affine import affine_normalizers
from normkit.weights.gain import gains_of

__all__ = ["GammaLayer", "GammaReport", "Pruned", "gamma_report", "prune_disabled"]


@dataclass(frozen=True)
class GammaLayer:
    """One normaliser, or of RNB the gains of the hole or those of the rest.

    Attributes:
        path: where it stands; of RNB with the name of the gains behind it (`norm.foreground_gamma`).
        channels: entries of γ.
        disabled: how many have |γ| below the threshold.
        still: how many gave an output whose standard deviation is below the threshold; None where no data was given,
            or where one channel has several gains.
        silent: how many gave no value above 0 on the data, so that a ReLU straight behind passes nothing; or None.
    """

    path: str
    channels: int
    disabled: int
    still: int | None = None
    silent: int | None = None


@dataclass(frozen=True)
class GammaReport:
    """γ of all normalisers: how many are off, and how they are distributed.

    Attributes:
        threshold: |γ| below which a channel counts as disabled.
        layers: one entry for each normaliser with a γ, in order.
        gains: all γ, in order.
    """

    threshold: float
    layers: tuple[GammaLayer, ...]
    gains: Tensor

    @property
    def share(self) -> float:
        """Disabled channels over all."""
        return sum(layer.disabled for layer in self.layers) / max(1, sum(layer.channels for layer in self.layers))

    @property
    def silent_share(self) -> float | None:
        """Channels that gave nothing above 0 on the data over all; None without data."""
        counts = [layer.silent for layer in self.layers if layer.silent is not None]
        return sum(counts) / max(1, sum(layer.channels for layer in self.layers)) if counts else None

    def histogram(self, bins: int = 20) -> tuple[Tensor, Tensor]:
        """Counts (bins,) and edges (bins + 1,) of γ."""
        return torch.histogram(self.gains, bins)


@dataclass(frozen=True)
class Pruned:
    """What pruning did.

    Attributes:
        channels: how many were set to zero, by path of the normaliser.
        max_abs_diff: largest change of an entry of the output on the example, in the output's unit.
        max_rel_diff: the same over the output's largest magnitude.
    """

    channels: dict[str, int]
    max_abs_diff: float
    max_rel_diff: float


@torch.no_grad()
def gamma_report(model: nn.Module, threshold: float = 0.01, data: Iterable[Any] | None = None) -> GammaReport:
    """How many channels of each normaliser are switched off: |γ| < threshold, and on data those that give nothing.

    Args:
        model: any network with affine normalisers; it stays as it is.
        threshold: on |γ|, and on the standard deviation of a channel's output.
        data: batches that the model takes as `model(batch)` (a tuple: positional arguments, a mapping: keywords).

    Shapes: γ is read flat. Source: Frankle et al. 2021, arXiv:2003.00152, section 5.

    Raises:
        ValueError: a negative threshold, no affine normaliser, none of them with a γ, or empty data.
    """
    if threshold < 0:
        raise ValueError(f"threshold is {threshold}: it must not be negative")
    gains = _gains(model)
    if not gains:
        raise ValueError(f"the normalisers of {type(model).__name__} have shifts but no gain, so nothing can be off")
    seen = {} if data is None else _watched(model, gains, data)
    layers = []
    for path, gain in gains.items():
        still = silent = None
        if path in seen:
            deviation, highest = seen[path].result()
            still, silent = int((deviation < threshold).sum()), int((highest <= 0).sum())
        layers.append(GammaLayer(path, gain.numel(), int((gain.abs() < threshold).sum()), still, silent))
    return GammaReport(threshold, tuple(layers), torch.cat([gain.float().cpu().flatten() for gain in gains.values()]))


@torch.no_grad()
def prune_disabled(model: nn.Module, threshold: float = 0.01, *, example: Any) -> Pruned:
    """Set γ and β of every channel with |γ| < threshold to exactly zero, in place, and measure what that changes.

    The output is compared in evaluation mode on `example` (a tensor, a tuple of arguments, or a mapping of keywords).
    Shapes stay. Source: Frankle et al. 2021, arXiv:2003.00152, section 5.

    Raises:
        ValueError: a negative threshold, no affine normaliser, or the model gives no tensor for the example.
    """
    if threshold < 0:
        raise ValueError(f"threshold is {threshold}: it must not be negative")
    normalizers = affine_normalizers(model)
    with _evaluating(model):
        before = _output(model, example).clone()
        pruned: dict[str, int] = {}
        for path, module in normalizers.items():
            for gain in gains_of(module):
                off = gain.value.abs() < threshold
                gain.stored[off] = -gain.offset
                if gain.shift is not None and gain.shift.shape == off.shape:
                    gain.shift[off] = 0
                pruned[path] = pruned.get(path, 0) + int(off.sum())
        moved = (_output(model, example) - before).abs().max().item()
    return Pruned(pruned, moved, moved / max(before.abs().max().item(), torch.finfo(before.dtype).tiny))


def _gains(model: nn.Module) -> dict[str, Tensor]:
    """γ by the path of its normaliser, and of several in one normaliser by their names behind it."""
    found: dict[str, Tensor] = {}
    for path, module in affine_normalizers(model).items():
        gains = gains_of(module)
        alone = len(gains) == 1
        found |= {path if alone else f"{path}.{gain.name}".lstrip("."): gain.value for gain in gains}
    return found


class _Channels:
    """Sums over the outputs of one normaliser, by channel."""

    def __init__(self, normalizer: nn.Module, gain: Tensor) -> None:
        self.shape = gain.shape
        self.last = any(kind in type(normalizer).__name__.lower() for kind in ("layernorm", "rmsnorm"))
        self.rows: list[Tensor] = []

    def add(self, output: Tensor) -> None:
        """One output: channels are its trailing axes in layer and RMS norms, where those fit, else its second axis."""
        channels, trailing = self.shape.numel(), output.shape[output.ndim - len(self.shape) :] == self.shape
        if trailing and (self.last or output.ndim == 2):
            y = output.reshape(-1, channels).T
        elif output.ndim > 1 and output.shape[1] == channels:
            y = output.transpose(0, 1).flatten(1)
        else:
            return
        y = y.double()
        count = torch.full_like(y[:, 0], y.shape[1])
        self.rows.append(torch.stack([y.sum(1), y.square().sum(1), y.amax(1), count]))

    def result(self) -> tuple[Tensor, Tensor]:
        """Standard deviation and largest value of each channel over all that was seen."""
        total, squares, highest, count = torch.stack(self.rows).unbind(1)
        mean, square = total.sum(0) / count.sum(0), squares.sum(0) / count.sum(0)
        return (square - mean.square()).clamp_min(0).sqrt(), highest.amax(0)


def _watched(model: nn.Module, gains: dict[str, Tensor], data: Iterable[Any]) -> dict[str, _Channels]:
    """Run the model over the data in evaluation mode and add up what each normaliser gives."""
    modules = dict(model.named_modules())
    seen = {path: _Channels(modules[path], gain) for path, gain in gains.items() if path in modules}
    hooks = [
        modules[path].register_forward_hook(lambda _, inputs, output, channels=channels: channels.add(output))
        for path, channels in seen.items()
    ]
    batches = 0
    try:
        with _evaluating(model):
            for batch in data:
                call(model, batch)
                batches += 1
    finally:
        for hook in hooks:
            hook.remove()
    if not batches:
        raise ValueError("data yields no batch: pass at least one, or None to look at the gains alone")
    return {path: channels for path, channels in seen.items() if channels.rows}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _output(model: nn.Module, example: Any) -> Tensor:
    output = call(model, example)
    found = next((tensor for tensor in tensors(output) if tensor.is_floating_point()), None)
    if found is None:
        raise ValueError(f"{type(model).__name__} gives a {type(output).__name__} without a tensor: nothing to compare")
    return found
