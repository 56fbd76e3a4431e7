"""One rule over one network: find the sites, ask the rule, put its modules in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from normkit.conversion._framework.pairs import Before, Pairs, evaluating
from normkit.conversion._framework.rule import Change, Refusal, Rule, Site
from normkit.surgery import Flow, close_fast_path, copy, find, paths, replace, submodule, ties, trace

__all__ = ["Pass", "Select", "run_pass"]

Select = str | Sequence[str] | Callable[[str, nn.Module], bool] | None
"""Which sites: paths or glob patterns over paths, or `select(path, module) -> bool`; None is all."""


@dataclass
class Pass:
    """What one rule did: the network, its changes, what it refused, and the plan by which it can be repeated.

    `root_replaced`: the network itself was the site, and another module is the network now.
    """

    model: nn.Module
    changes: list[Change] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    plan: list[dict[str, Any]] = field(default_factory=list)
    root_replaced: bool = False


def run_pass(
    rule: Rule,
    model: nn.Module,
    *,
    example: Any = None,
    batches: Sequence[Any] = (),
    select: Select = None,
    plan: Sequence[dict[str, Any]] | None = None,
) -> Pass:
    """Apply `rule` to `model` itself.

    With `plan` (of an earlier pass) its sites are converted as it says; else they are searched. With `batches` the
    new modules are fitted, where the rule does so.
    """
    done = Pass(model)
    tied = ties(model)
    sites = _surveyed(rule, model, example, select, done) if plan is None else _planned(model, plan)
    reference = Before(copy(model), batches) if batches and rule.promise == "calibrated" and sites else None
    for site in sites:
        site.model = done.model
        pairs = Pairs(reference, done.model, site.path) if reference is not None else None
        try:
            new = rule.replacement(site, pairs)
        except Refusal as refusal:
            done.skipped.append({"path": site.path, "reason": str(refusal)})
            continue
        done.root_replaced |= new is not site.module and not site.path
        done.model = _put(done.model, site, new, rule)
        done.plan.append({"path": site.path, "details": site.details})
        done.changes += site.changes
    _note_broken_ties(done, tied)
    return done


def _put(model: nn.Module, site: Site, new: nn.Module, rule: Rule) -> nn.Module:
    if new is site.module:
        return model
    frozen = [not parameter.requires_grad for parameter in site.module.parameters()]
    if frozen and all(frozen):
        new.requires_grad_(False)
    site.changes.insert(0, Change(site.path, type(site.module).__name__, type(new).__name__, site.why or rule.why))
    if not site.path:
        return new.train(site.module.training)
    for place in paths(model, site.module):
        parent = submodule(model, place.rpartition(".")[0])
        if isinstance(parent, nn.TransformerEncoderLayer):
            close_fast_path(parent)
    replace(model, site.path, new)
    return model


def _planned(model: nn.Module, plan: Sequence[dict[str, Any]]) -> list[Site]:
    return [Site(entry["path"], submodule(model, entry["path"]), model, None, dict(entry["details"])) for entry in plan]


def _surveyed(rule: Rule, model: nn.Module, example: Any, select: Select, done: Pass) -> list[Site]:
    """The sites that the rule can convert, in the order in which they run; the others go to `done.skipped`."""
    chosen = [found for found in find(model) if _free(model, found.path) and _chosen(select, model, *found)]
    matching = [site for path, module in chosen if rule.matches(site := Site(path, module, model))]
    if not matching:
        what = f"it has no {rule.about}"
        if select is not None:
            what = f"select= names no {rule.about} (a pattern is matched with whole paths: 'layer1.*', not 'layer1')"
        done.skipped.append({"path": "", "reason": what})
        return []
    flow = _flow(model, example)
    if flow is not None:
        order = {site.path: place for site in matching if (place := flow.order(site.path)) is not None}
        matching.sort(key=lambda site: order.get(site.path, len(flow.steps)))
    convertible = []
    for site in matching:
        site.flow = flow
        try:
            _refuse_scripted(site.module)
            site.details = rule.survey(site)
        except Refusal as refusal:
            done.skipped.append({"path": site.path, "reason": str(refusal)})
        else:
            convertible.append(site)
    return convertible


def _flow(model: nn.Module, example: Any) -> Flow | None:
    try:
        with evaluating(model), torch.random.fork_rng(devices=[]):
            return trace(model, example)
    except ValueError:
        if example is not None:
            raise
        return None


def _free(model: nn.Module, path: str) -> bool:
    """Whether a module is no part of a normkit layer: the BatchNorm inside a BatchChannelNorm2d is that layer's own."""
    names = path.split(".")
    holders = (submodule(model, ".".join(names[:depth])) for depth in range(1, len(names)))
    return not any(type(holder).__module__.startswith("normkit.nn") for holder in holders)


def _chosen(select: Select, model: nn.Module, path: str, module: nn.Module) -> bool:
    if select is None:
        return True
    if callable(select):
        return bool(select(path, module))
    patterns = [select] if isinstance(select, str) else select
    return any(fnmatchcase(place, pattern) for place in paths(model, module) for pattern in patterns)


def _refuse_scripted(module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise Refusal("it is scripted: convert the Python module and script it afterwards")


def _note_broken_ties(done: Pass, before: list[tuple[str, ...]]) -> None:
    """Say which weights were tied and are no more, where the rule has not said so itself."""
    together = [set(names) for names in ties(done.model)]
    for names in before:
        first, *others = names
        for other in others:
            if any({first, other} <= group for group in together) or _said(done, first, other):
                continue
            why = "the conversion gives these two different values, so they cannot stay one tensor"
            done.changes.append(Change(other, f"tied to {first}", "untied", why))


def _said(done: Pass, *names: str) -> bool:
    return any(change.path in names and "tied" in change.after for change in done.changes)
