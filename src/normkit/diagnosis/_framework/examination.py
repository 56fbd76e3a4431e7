"""`diagnose`: run the model over a few batches with every probe watching, and leave it as it was; or read a table."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from normkit.data import as_table, is_table
from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.discovery import chosen
from normkit.diagnosis._framework.finding import SEVERITIES, Finding, Skipped
from normkit.diagnosis._framework.observer import Observer
from normkit.diagnosis._framework.probe import ModuleProbe, Probe
from normkit.diagnosis._framework.remedy import convertible
from normkit.diagnosis._framework.result import Diagnosis
from normkit.diagnosis._framework.unchanged import buffers_kept, mode, unchanged
from normkit.training import cross_entropy

__all__ = ["diagnose"]


def diagnose(
    model: Any,
    data: Iterable[Any] | None = None,
    *,
    loss: Callable[[Any, Any], Tensor] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    optimizer: Any = None,
    reference: Any = None,
    probes: Sequence[str | type[Probe] | Probe] | str | None = None,
    max_batches: int = 8,
    seed: int = 0,
) -> Diagnosis:
    """Measure what is mis-scaled in `model` on `data` and name the remedies; nothing in the model changes.

    The model runs once over each batch in evaluation mode (with its gradient where there are targets) and, where a
    probe asks for batch statistics, once in training mode; the probes keep counts, means and second moments only.
    Parameters, buffers, gradients, modes, hooks and all random generators are afterwards as they were, also when
    something raises or the user interrupts; that costs one copy of the parameters meanwhile.

    A table alone, `diagnose(table)`, is examined by the probes for tables.

    Args:
        model: any `nn.Module`, on the device of the batches; or, without data, a table: a DataFrame (its columns of
            numbers), a 2-D array or tensor, or a `normkit.data.Table`.
        data: batches as the model is trained on: tensors, pairs (x, y), dicts, Hugging Face batches. The batch size is
            part of what is measured.
        loss: `loss(output, batch)` returns a scalar; by default the model's own loss or cross entropy.
        forward: `forward(model, batch)` returns the output, for models and loaders of other shapes.
        optimizer: for probes that rehearse steps.
        reference: source data, for probes that compare.
        probes: slugs, probe classes or probes; all of normkit's by default.
        max_batches: how many batches to look at.
        seed: start of the random generators while the model runs (dropout, shuffling).

    Raises:
        ValueError: the data yields nothing, an unknown probe, a batch on another device, a label out of range, a model
            with lazy parameters.
        TypeError: the model or a batch is nothing that can be run; says how to pass `forward` or `loss`.
        FloatingPointError: the loss is not finite.
        RuntimeError: the model failed on a batch; the message names its shapes and what torch said.
    """
    selected = chosen(probes)
    started = time.perf_counter()
    if data is None and is_table(model):
        return _diagnose_table(model, selected, seed, started)
    _check(model, data, max_batches)
    assert data is not None
    with unchanged(model, data, seed):
        context = Context(model, forward, loss, optimizer, reference, seed)
        active, skipped = _begin(selected, context)
        watchers = [probe for probe in active if isinstance(probe, ModuleProbe)]
        with Observer(context, watchers) as observer:
            for batch in _batches(data, max_batches, context.device):
                context.see(batch)
                with _named(batch):
                    _examine(batch, context, observer)
        for probe in watchers:
            probe.end_segment()
        findings, silent = _conclude(active, context)
    return Diagnosis(
        findings=tuple(findings),
        skipped=tuple(skipped + silent),
        model=type(model).__name__,
        samples=context.samples,
        batches=len(context.sizes),
        seconds=time.perf_counter() - started,
        device=str(context.device),
        costs={probe.slug: probe.rehearses for probe in active if probe.rehearses},
    )


def _diagnose_table(found: Any, selected: Sequence[Probe], seed: int, started: float) -> Diagnosis:
    context = Context(nn.Identity(), seed=seed, table=as_table(found))
    active, skipped = _begin(selected, context)
    findings, silent = _conclude(active, context)
    assert context.table is not None
    return Diagnosis(
        findings=tuple(findings),
        skipped=tuple(skipped + silent),
        model="table",
        samples=len(context.table.values),
        seconds=time.perf_counter() - started,
    )


def _check(model: Any, data: Any, max_batches: int) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: an nn.Module is wanted (or a table alone)")
    if data is None:
        raise TypeError("data is missing: pass the batches that the model is trained on, diagnose(model, data)")
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("the model is scripted, so its inside cannot be watched: pass the nn.Module that was scripted")
    if max_batches < 1:
        raise ValueError(f"max_batches is {max_batches}: at least 1 batch is needed")
    tensors = [*model.named_parameters(), *model.named_buffers()]
    if lazy := [name for name, tensor in tensors if is_lazy(tensor)]:
        raise ValueError(f"{lazy[0]} has no shape yet (a lazy module): run the model on one batch first")


def _batches(data: Iterable[Any], limit: int, device: torch.device) -> Iterator[Any]:
    """At most `limit` batches, each on the model's device.

    Raises:
        ValueError: there is none, or one lies on another device.
        TypeError: `data` cannot be iterated.
    """
    if isinstance(data, Tensor | dict) or not isinstance(data, Iterable):
        raise TypeError(
            f"data is a {type(data).__name__}: an iterable of batches is wanted, such as a DataLoader or [x]"
        )
    count = 0
    for batch in islice(data, limit):
        for tensor in _tensors_in(batch):
            if tensor.device.type != device.type:
                raise ValueError(
                    f"a batch is on {tensor.device} and the model on {device}: move one of them, "
                    f"such as model.to({str(tensor.device)!r})"
                )
        count += 1
        yield batch
    if count == 0:
        raise ValueError("the data yields no batch: diagnose needs at least one")


def _tensors_in(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif hasattr(batch, "values"):
        yield from _tensors_in(tuple(batch.values()))
    elif isinstance(batch, tuple | list):
        for each in batch:
            yield from _tensors_in(each)


def _begin(selected: Sequence[Probe], context: Context) -> tuple[list[Probe], list[Skipped]]:
    active, skipped = [], []
    for probe in selected:
        missing = probe.needs - context.has - {"loss"}  # whether there are targets is known once a batch has been seen
        reason = _what_to_pass(missing) if missing else probe.begin(context)
        if reason:
            skipped.append(Skipped(probe.slug, reason))
        else:
            active.append(probe)
    return active, skipped


def _what_to_pass(missing: frozenset[str] | set[str]) -> str:
    if "table" in missing:
        return "it examines tables: diagnose(table)"
    if "data" in missing:
        return "it examines models: diagnose(model, data)"
    return f"pass {', '.join(sorted(missing))}="


@contextmanager
def _named(batch: Any) -> Iterator[None]:
    """Says on which batch the model failed."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        shapes = (f"{tuple(each.shape)} {str(each.dtype).removeprefix('torch.')}" for each in _tensors_in(batch))
        raise RuntimeError(f"the model failed on a batch of {', '.join(shapes)}: {error}") from error


def _examine(batch: Any, context: Context, observer: Observer) -> None:
    """One batch: the passes that the probes ask for."""
    if observer.watches("train"):
        _training_pass(batch, context, observer)
    with mode(context.model, training=False), observer.watching("eval"):
        wants_gradient = [probe for probe in observer.probes if probe.wants_gradient]
        with torch.enable_grad() if wants_gradient else torch.no_grad():
            output = context.call(batch)
            value = _loss(output, batch, context)
        _check_output(output, value, context)
    if value is not None and value.requires_grad:
        for probe in wants_gradient:
            probe.gradients(value)


def _training_pass(batch: Any, context: Context, observer: Observer) -> None:
    """Training mode, running statistics put back; evaluation mode where the model cannot run in training mode.

    Batch normalisation without positions, for instance, refuses a batch of one.
    """
    if context.untrainable is None:
        try:
            with (
                mode(context.model, training=True),
                buffers_kept(context.model),
                torch.no_grad(),
                observer.watching("train"),
            ):
                context.call(batch)
            return
        except (RuntimeError, ValueError, TypeError) as error:
            context.untrainable = " ".join(str(error).split())
            observer.forget("train")
    with mode(context.model, training=False), torch.no_grad(), observer.watching("train"):
        context.call(batch)


def _loss(output: Any, batch: Any, context: Context) -> Tensor | None:
    if "loss" not in context.has:
        return None
    value = (context.loss or cross_entropy)(output, batch)
    if not torch.isfinite(value).all():
        raise FloatingPointError(f"the loss is {float(value)} on batch {len(context.sizes)}: it must be finite")
    return value


def _check_output(output: Any, value: Tensor | None, context: Context) -> None:
    """A model without targets must at least return a tensor; else the user means something that we cannot see."""
    if value is None:
        context.tensor(output)


def _conclude(active: Sequence[Probe], context: Context) -> tuple[list[Finding], list[Skipped]]:
    findings, silent = [], []
    for probe in active:
        if "loss" in probe.needs and "loss" not in context.has:
            silent.append(Skipped(probe.slug, "the batches hold no targets: pass loss=lambda output, batch: …"))
            continue
        with torch.no_grad():
            concluded = probe.run(context)
        if isinstance(concluded, str):
            silent.append(Skipped(probe.slug, concluded))
        else:
            findings.append(_with_usable_remedies(concluded, context))
    findings.sort(key=lambda finding: -SEVERITIES.index(finding.severity))
    return findings, silent


def _with_usable_remedies(finding: Finding, context: Context) -> Finding:
    """Without the remedies that `convert` would refuse for this model; where none is left the summary says why."""
    if not finding.remedies or context.table is not None or context.forward is not None:
        # nothing to convert in a table, and nobody knows how convert could run a model that needs `forward`
        return finding
    usable, refusal = convertible(finding.remedies, context)
    if not refusal:
        return replace(finding, remedies=usable)
    return replace(finding, remedies=(), summary=f"{finding.summary}; no remedy applies here: {refusal}")
