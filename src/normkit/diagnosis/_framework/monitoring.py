"""`monitor`: the probes that only watch, in a training loop of the user's own."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.discovery import chosen
from normkit.diagnosis._framework.finding import SEVERITIES, Finding, Skipped
from normkit.diagnosis._framework.observer import Observer
from normkit.diagnosis._framework.probe import ModuleProbe, Probe
from normkit.diagnosis._framework.result import Diagnosis

__all__ = ["Monitor", "monitor"]

SPIKE = 3.0
"""A step is a spike if its gradient norm exceeds so many times the running median (Kim et al. 2025, section 4)."""


def monitor(
    model: nn.Module, *, every: int = 50, probes: Sequence[str | type[Probe] | Probe] | str | None = None
) -> "Monitor":
    """Watch a training loop: `with normkit.monitor(model, every=50) as watch: …`, then `watch.diagnosis()`.

    Of every `every` training steps (calls of the model in training mode) two neighbours are watched, by the probes that
    only watch; the pair tells the noise of a batch from the drift of the weights. Hooks read and never write, so the
    training gives the same results as without. Gradient accumulation calls the model several times a step: each call
    counts.

    Args:
        model: the model that the loop trains.
        every: distance between watched pairs, in calls; 2 at least.
        probes: as for `diagnose`; those that would run the model themselves are listed as skipped.

    Raises:
        ValueError: `every` is below 2, or an unknown probe.
        TypeError: `model` is no `nn.Module`.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: an nn.Module is wanted")
    if every < 2:
        raise ValueError(f"every is {every}: pairs of neighbouring steps are watched, so it must be 2 or more")
    return Monitor(model, every, chosen(probes))


class Monitor:
    """A context manager that watches a model in training; made by `monitor`.

    Attributes:
        steps: calls of the model in training mode so far.
        gradient_norms: step and global norm of the gradients that reached the parameters after each watched call.
    """

    def __init__(self, model: nn.Module, every: int, probes: Sequence[Probe]) -> None:
        self.model, self.every, self.steps = model, every, 0
        self.gradient_norms: list[tuple[int, float]] = []
        self._context = Context(model, monitoring=True)
        self._skipped: list[Skipped] = []
        self._probes = [probe for probe in probes if isinstance(probe, ModuleProbe) and self._joins(probe)]
        self._skipped += [_active(probe) for probe in probes if not isinstance(probe, ModuleProbe)]
        self._observer = Observer(self._context, self._probes)
        self._watching: Any = None
        self._squared = 0.0
        self._handles: list[Any] = []

    def __enter__(self) -> "Monitor":
        """Hang the hooks."""
        self._handles = [self.model.register_forward_pre_hook(self._before, with_kwargs=True)]
        self._observer.__enter__()
        self._handles.append(self.model.register_forward_hook(self._after, always_call=True))
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                self._handles.append(parameter.register_post_accumulate_grad_hook(self._add_gradient))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the hooks off again, also when the loop raises."""
        self._stop()
        self._observer.__exit__()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._note_gradient()
        for probe in self._probes:
            probe.end_segment()

    def spikes(self) -> list[int]:
        """Watched steps whose gradient norm exceeds 3 × the median of those before it, or is not finite."""
        found: list[int] = []
        seen: list[float] = []
        for step, norm in self.gradient_norms:
            if not np.isfinite(norm) or (len(seen) >= 3 and norm > SPIKE * float(np.median(seen))):
                found.append(step)
            else:
                seen.append(norm)
        return found

    def diagnosis(self) -> Diagnosis:
        """What the watched steps amount to; may be asked for within the loop too."""
        for probe in self._probes:
            probe.end_segment()
        findings, skipped = [], list(self._skipped)
        for probe in self._probes:
            concluded: Finding | str = (
                probe.run(self._context) if self._context.sizes else "no training step was watched"
            )
            if isinstance(concluded, str):
                skipped.append(Skipped(probe.slug, concluded))
            else:
                findings.append(self._with_spikes(concluded))
        findings.sort(key=lambda finding: -SEVERITIES.index(finding.severity))
        return Diagnosis(
            tuple(findings), tuple(skipped), type(self.model).__name__, self._context.samples, len(self._context.sizes),
            device=str(self._context.device),
        )  # fmt: skip

    def _joins(self, probe: ModuleProbe) -> bool:
        reason = probe.begin(self._context)
        if reason:
            self._skipped.append(Skipped(probe.slug, reason))
        return not reason

    def _with_spikes(self, finding: Finding) -> Finding:
        if finding.probe != "variance-growth" or not self.gradient_norms:
            return finding
        from dataclasses import replace

        spikes = self.spikes()
        said = f"{finding.summary}; {len(spikes)} gradient spikes in {len(self.gradient_norms)} watched steps"
        return replace(finding, summary=said, detail={**finding.detail, "spikes": spikes})

    def _before(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        self._note_gradient()
        if not model.training or self._watching is not None:
            return
        turn = self.steps % self.every
        self.steps += 1
        if turn == 0:
            for probe in self._probes:
                probe.end_segment()
        if turn < 2:
            self._context.sizes.append(_samples(args, kwargs))
            self._watching = self._observer.watching(None)
            self._watching.__enter__()
            self._watched = True

    def _after(self, model: nn.Module, args: Any, output: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.__exit__(None, None, None)

    _watched = False

    def _add_gradient(self, parameter: Tensor) -> None:
        if self._watched and parameter.grad is not None:
            with torch.no_grad():
                self._squared += float(parameter.grad.double().square().sum())

    def _note_gradient(self) -> None:
        """The call that was watched has had its backward pass: note the norm that it left."""
        if self._watched:
            if self._squared > 0 or not np.isfinite(self._squared):
                self.gradient_norms.append((self.steps - 1, float(np.sqrt(self._squared))))
            self._squared, self._watched = 0.0, False


def _active(probe: Probe) -> Skipped:
    return Skipped(probe.slug, "it runs the model itself: use diagnose")


def _samples(args: Any, kwargs: Any) -> int:
    found = next((each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)), None)
    return len(found) if found is not None and found.ndim else 1
