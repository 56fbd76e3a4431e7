"""`convert`: apply rules to a copy of a network, and return it only with the proof of what it does."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from normkit.benchmarks import interleaved
from normkit.conversion._framework.inputs import Trial, batches_of, example_of, run, variants
from normkit.conversion._framework.pairs import evaluating
from normkit.conversion._framework.passes import Pass, Select, run_pass
from normkit.conversion._framework.result import Conversion
from normkit.conversion._framework.rule import Kind, Rule, resolve
from normkit.conversion._framework.source import recipe_of
from normkit.conversion._framework.verify import ConversionError, compare, described, outputs_of, require_equal
from normkit.surgery import copy, find

__all__ = ["TOLERANCE", "convert"]

TOLERANCE = 1e-10
"""Largest relative difference, in float64, that an exact conversion may show."""

SLOW = 0.3
"""Seconds of a forward pass above which it is timed in 3 rounds in place of 9."""

_WRAPPERS = {
    "DistributedDataParallel": "convert model.module first, and wrap the converted model",
    "DataParallel": "convert model.module first, and wrap the converted model",
    "FullyShardedDataParallel": "convert the model before it is sharded",
    "OptimizedModule": "convert the model before torch.compile",
}


def convert(
    model: nn.Module,
    to: Rule | str | Iterable[Any],
    *,
    data: Any = None,
    example: Any = None,
    select: Select = None,
    tolerance: float | None = None,
    inplace: bool = False,
    dry_run: bool = False,
    seed: int = 0,
) -> Conversion:
    """Convert a network by one or several rules and verify what became of its function.

    Args:
        model: the network; untouched unless `inplace`. Copies of it are run, in evaluation mode.
        to: a rule of `normkit.conversion` with its options, a slug for its defaults, or a list applied in order.
        data: batches as `diagnose` takes them (tensors, `(inputs, targets)`, dicts; the first 8 are used), or one
            tensor. Calibrated rules need them.
        example: one input: a tensor, a tuple of positional arguments, or a dict of keyword arguments. Without one the
            first batch of `data` serves, or what the rule can make from the model's configuration.
        select: which modules: a path, a glob pattern, a list of them, or `select(path, module) -> bool`.
        tolerance: largest relative difference in float64 for exact rules (default 1e-10).
        inplace: change `model` itself (only after the copy has passed verification).
        dry_run: say what would be changed and skipped; build nothing that is kept, verify nothing.
        seed: of the inputs made for verification.

    Returns:
        A `Conversion`: the network, its kind, changes, what was skipped and why, the differences measured.

    Raises:
        ConversionError: nothing could be converted (each reason is in the message), or an exact rule's result differs
            from the original by more than the tolerance, or a calibrated rule got no data. The model is as it was.
        ValueError: an unknown slug, empty data, a model that the example does not fit.
        TypeError: an entry of `to` is no rule.
    """
    steps = resolve(to)
    _refuse_wrapped(model)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of this device alone: others' states are the user's
        given = _inputs(model, steps, data, example, seed)
        _require_running(model, given, data is not None and example is None)
        if dry_run:
            return _plan(model, steps, given, select)
        return _converted(model, steps, given, select, TOLERANCE if tolerance is None else tolerance, inplace, seed)


@dataclass(frozen=True)
class _Inputs:
    """What a conversion is fitted on (`batches`) and verified on (`trials`); without either `example` is None."""

    example: Any
    batches: list[Any]
    trials: list[Trial]


@dataclass
class _Run:
    """A conversion under way: the network after each rule, and its float64 twin as long as all rules are exact."""

    model: nn.Module
    exact: nn.Module
    passes: list[Pass] = field(default_factory=list)


def _inputs(model: nn.Module, steps: Sequence[Rule], data: Any, example: Any, seed: int) -> _Inputs:
    batches = batches_of(data, model)
    if example is not None:
        example = example_of(example, model)
    elif batches:
        example = batches[0]
    else:
        made = (rule.example(model, seed) for rule in steps)
        example = next((one for one in made if one is not None), None)
        example = None if example is None else example_of(example, model)
    trials = [] if example is None else variants(example, model, seed)
    trials += [Trial(f"batch {number} of data", batch) for number, batch in enumerate(batches[1:3], 1)]
    return _Inputs(example, batches, trials)


def _plan(model: nn.Module, steps: Sequence[Rule], given: _Inputs, select: Select) -> Conversion:
    stage, passes = copy(model), []
    for rule in steps:
        passes.append(run_pass(rule, stage, example=given.example, select=select))
        stage = passes[-1].model
    return _result(model, steps, passes, {}, dry_run=True)


def _converted(
    model: nn.Module,
    steps: Sequence[Rule],
    given: _Inputs,
    select: Select,
    tolerance: float,
    inplace: bool,
    seed: int,
) -> Conversion:
    _require_inputs(model, steps, given)
    going = _Run(copy(model), copy(model).double())
    for rule in steps:
        _advance(going, rule, given, select, tolerance)
    _require_changes(steps, going.passes)
    if inplace and any(done.root_replaced for done in going.passes):
        raise ConversionError("inplace=True: the model itself is what is to be replaced; use the returned model")
    used = [rule for rule, done in zip(steps, going.passes, strict=True) if done.plan]
    original = copy(model)
    trials = given.trials if _kind(used) == "exact" else _as_given(given)
    figures: dict[str, Any] = {}
    if trials:
        figures["own"] = compare(original, going.model, trials)
        try:
            figures["total"] = compare(copy(model).double(), going.exact, trials, torch.float64)
        except ConversionError as error:  # a report for a fitted network, which a model without float64 may lack
            if _kind(used) == "exact":
                raise
            figures |= {"total": figures["own"], "remark": f"compared in the model's own dtype alone: {error}"}
        figures["time_ratio"] = _time_ratio(original, going.model, given, seed)
    converted = _repeat(model, steps, going) if inplace else going.model
    return _result(converted, steps, going.passes, figures, source=original, seed=seed)


def _advance(going: _Run, rule: Rule, given: _Inputs, select: Select, tolerance: float) -> None:
    """One rule: on the network itself, and for an exact rule on its float64 twin, which must keep its function."""
    done = run_pass(rule, going.model, example=given.example, batches=given.batches, select=select)
    going.model = done.model
    going.passes.append(done)
    if not done.plan:
        return
    if rule.promise != "exact":
        going.exact = copy(going.model).double()
        return
    before = going.exact
    going.exact = run_pass(rule, copy(before), plan=done.plan).model
    require_equal(rule.slug, compare(before, going.exact, given.trials, torch.float64), tolerance)


def _repeat(model: nn.Module, steps: Sequence[Rule], going: _Run) -> nn.Module:
    """Do to the user's own model what was done to the copy, then give it the copy's values."""
    for rule, done in zip(steps, going.passes, strict=True):
        run_pass(rule, model, plan=done.plan)
    model.load_state_dict(going.model.state_dict())
    return model


def _require_inputs(model: nn.Module, steps: Sequence[Rule], given: _Inputs) -> None:
    for rule in steps:
        if rule.promise == "calibrated" and not given.batches:
            raise ConversionError(
                f"{rule.slug} is calibrated: pass data= (a few batches of inputs) to fit it; or "
                f"{type(rule).__name__}(fit=False) for a network that will be trained from there"
            )
        if rule.promise == "exact" and given.example is None:
            raise ConversionError(f"{rule.slug} is verified before it returns: pass example= (an input) or data=")


def _require_running(model: nn.Module, given: _Inputs, first_is_data: bool) -> None:
    """Refuse inputs that the model does not take, before anything reads its data flow or is fitted on them."""
    inputs = [] if given.example is None or first_is_data else [("the input given", given.example)]
    inputs += [(f"batch {number} of data", batch) for number, batch in enumerate(given.batches)]
    twin = copy(model) if inputs else model
    for name, value in inputs:
        try:
            outputs_of(twin, value)
        except Exception as error:  # whatever a network raises on an input that it was not made for
            hint = "; data is an iterable of batches: write one batch as [batch]" if "batch" in name else ""
            raise ConversionError(f"the model itself fails on {name}: {described(error)}{hint}") from error


def _require_changes(steps: Sequence[Rule], passes: Sequence[Pass]) -> None:
    if any(done.plan for done in passes):
        return
    skipped = [entry for done in passes for entry in done.skipped]
    places: dict[str, list[str]] = {}
    for entry in skipped:
        places.setdefault(entry["reason"], []).append(entry["path"] or "the model")
    reasons = [f"{_several([*dict.fromkeys(paths)])}: {reason}" for reason, paths in places.items()]
    shown = "; ".join(reasons[:5]) + (f"; and {len(reasons) - 5} more reasons" if len(reasons) > 5 else "")
    raise ConversionError(f"{', '.join(rule.slug for rule in steps)}: nothing could be converted: {shown}", skipped)


def _several(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _refuse_wrapped(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ConversionError("the model is scripted (torch.jit): convert the Python module and script it afterwards")
    for path, module in find(model):
        advice = _WRAPPERS.get(type(module).__name__)
        if type(module).__name__.startswith("FSDP"):  # the class that torch's fully_shard gives a module
            advice = _WRAPPERS["FullyShardedDataParallel"]
        if advice:
            raise ConversionError(f"{path or 'the model'} is wrapped in {type(module).__name__}: {advice}")
        if any(isinstance(parameter, nn.UninitializedParameter) for parameter in module._parameters.values()):
            raise ConversionError(f"{path or 'the model'} has parameters without a shape yet: run one batch first")


def _as_given(given: _Inputs) -> list[Trial]:
    """The inputs that the user gave: what a fitted network is judged by."""
    if given.batches:
        return [Trial(f"batch {number} of data", batch) for number, batch in enumerate(given.batches)]
    return given.trials[:1]


def _time_ratio(before: nn.Module, after: nn.Module, given: _Inputs, seed: int) -> float | None:
    """Time of the original over the time of the converted model on the example (above 1: faster now)."""
    if given.example is None:
        return None

    def timed(model: nn.Module) -> object:
        with torch.no_grad():
            return run(model, given.example)

    with evaluating(before), evaluating(after):
        start = time.perf_counter()
        timed(before)
        rounds = 9 if time.perf_counter() - start < SLOW else 3
        both = {"before": lambda: timed(before), "after": lambda: timed(after)}
        timings = interleaved(both, rounds=rounds, seed=seed)
    return float(timings.ratio("before", "after")[0])


def _kind(steps: Sequence[Rule]) -> Kind:
    order: list[Kind] = ["exact", "calibrated", "fresh"]
    return max((rule.promise for rule in steps), key=order.index)


def _result(
    model: nn.Module,
    steps: Sequence[Rule],
    passes: Sequence[Pass],
    figures: dict[str, Any],
    *,
    source: nn.Module | None = None,
    seed: int = 0,
    dry_run: bool = False,
) -> Conversion:
    total, own = figures.get("total"), figures.get("own")
    changes = [change.to_dict() for done in passes for change in done.changes]
    used = [rule for rule, done in zip(steps, passes, strict=True) if done.plan] or list(steps)
    return Conversion(
        model=model,
        kind=_kind(used),
        to=[rule.slug for rule in steps],
        changes=changes,
        skipped=[entry for done in passes for entry in done.skipped],
        max_abs_diff=total.max_abs if total else None,
        max_rel_diff=total.max_rel if total else None,
        own_dtype={"max_abs_diff": own.max_abs, "max_rel_diff": own.max_rel} if own else None,
        trials=list(total.trials) if total else [],
        time_ratio=figures.get("time_ratio"),
        recipe=recipe_of(source if source is not None else model, steps, passes, _kind(used), changes, seed),
        remarks=_remarks(used) + ([figures["remark"]] if "remark" in figures else []),
        dry_run=dry_run,
    )


def _remarks(steps: Sequence[Rule]) -> list[str]:
    said = [f"{rule.slug}: {rule.remark}" for rule in steps if rule.remark]
    fresh = [rule.slug for rule in steps if rule.promise == "fresh"]
    if fresh:
        said.append(f"{', '.join(fresh)}: not fitted; the network computes another function now and must be trained")
    return said
