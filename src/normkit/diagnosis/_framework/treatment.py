"""`treat`: apply what a diagnosis advises, measure again at the same places, and say whether it helped."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from normkit.diagnosis._framework.examination import diagnose
from normkit.diagnosis._framework.finding import SEVERITIES, Finding
from normkit.diagnosis._framework.remedy import by_rule
from normkit.diagnosis._framework.result import Diagnosis
from normkit.listing import meant

__all__ = ["Quality", "Treatment", "treat"]

_JUDGED = 256
"""Batches of `data` by which quality is judged where no `evaluate` is given."""


@dataclass(frozen=True)
class Quality:
    """How well a model does its task: accuracy (higher is better) or mean loss (lower is better), one value a seed."""

    measure: str
    seeds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.seeds) / len(self.seeds)

    def better_than(self, other: "Quality") -> bool:
        """Whether the mean is better."""
        return self.mean > other.mean if self.measure == "accuracy" else self.mean < other.mean

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"measure": self.measure, "mean": self.mean, "seeds": list(self.seeds)}


@dataclass(frozen=True)
class Treatment:
    """What a remedy did.

    Attributes:
        probe: the pathology that was treated.
        to: slugs of the rules applied, in order.
        before, after: the probe's finding on the model as it came and on the treated one.
        quality_before, quality_after: None where the data hold no targets.
        conversion: the result of `convert`; its `model` is the treated one.
        cost: what it took: `seconds`, `train_steps`, `time_ratio` (time of a forward pass before over after), and
            `parameters` added.
        remarks: what a person should know.
    """

    probe: str
    to: tuple[str, ...]
    before: Finding
    after: Finding
    quality_before: Quality | None
    quality_after: Quality | None
    conversion: Any
    cost: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def model(self) -> nn.Module:
        """The treated model."""
        model: nn.Module = self.conversion.model
        return model

    @property
    def improved(self) -> bool:
        """Whether the pathology's figure is less grave or smaller than before."""
        gravity = SEVERITIES.index(self.after.severity) - SEVERITIES.index(self.before.severity)
        return gravity < 0 or (gravity == 0 and self.after.figure < self.before.figure)

    def verdict(self) -> str:
        """Whether figure and quality improved, in words."""
        figure = f"{self.probe}: {self.before.figure:.3g} → {self.after.figure:.3g} {self.before.unit}"
        said = f"{figure} ({self.before.severity} → {self.after.severity})"
        if self.quality_before is None or self.quality_after is None:
            return said
        low, high = self.quality_before, self.quality_after
        word = "better" if high.better_than(low) else "worse" if low.better_than(high) else "the same"
        return f"{said}; {low.measure} {low.mean:.4g} → {high.mean:.4g}, {word}"

    def warning(self) -> str:
        """What must be done before the treated model is used, where its quality fell; empty where it did not."""
        low, high = self.quality_before, self.quality_after
        if low is None or high is None or not low.better_than(high):
            return ""
        fell = f"{low.measure} went from {low.mean:.4g} to {high.mean:.4g}"
        if self.cost.get("train_steps"):
            return f"{fell}: train longer, or name another remedy"
        return f"{fell}: the new layers were fitted but not trained; train the model before use, or name another remedy"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: `to`, `before`, `after`, `quality_before`, `quality_after` and what it cost."""
        from normkit.report import jsonable

        payload = {
            "probe": self.probe,
            "to": ",".join(self.to),
            "kind": self.conversion.kind,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "improved": self.improved,
            "quality_before": self.quality_before.to_dict() if self.quality_before else None,
            "quality_after": self.quality_after.to_dict() if self.quality_after else None,
            "cost": dict(self.cost),
            "changes": len(self.conversion.changes),
            "remarks": list(self.remarks),
        }
        result: dict[str, Any] = jsonable(payload)
        return result

    def report(self, path: str | Path, diagnosis: Diagnosis) -> Path:
        """Write one self-contained HTML page: before and after on the same axes, then the diagnosis that led to it.

        Raises:
            OSError: the folder cannot be written; the message names it.
        """
        from normkit.diagnosis._framework.drawing import treatment_page

        return treatment_page(diagnosis, self).write(path)

    def __str__(self) -> str:
        from normkit.report import plain

        return plain(self)

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("", "before", "after"):
            table.add_column(name)
        table.add_row(self.probe, *(f"{each.figure:.3g} {each.severity}" for each in (self.before, self.after)))
        for name, *pair in self._quality_rows():
            table.add_row(name, *(f"{value:.4f}" for value in pair))
        for name, value in self.cost.items():
            if value is not None:
                table.add_row(name.replace("_", " "), "", f"{value:.4g}")
        return table

    def _quality_rows(self) -> list[tuple[str, float, float]]:
        low, high = self.quality_before, self.quality_after
        if low is None or high is None:
            return []
        pairs = list(zip(low.seeds, high.seeds, strict=True))
        if len(pairs) == 1:
            return [(low.measure, *pairs[0])]
        rows = [(f"{low.measure}, seed {number}", *pair) for number, pair in enumerate(pairs)]
        return [*rows, (f"{low.measure}, mean", low.mean, high.mean)]

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write `model.safetensors` and `recipe.json`, from which `normkit.load` and `convert --replay` rebuild.

        Raises:
            FileExistsError: the folder is not empty and `force` is False.
            OSError: it cannot be written.
        """
        saved: Path = self.conversion.save(folder, force=force)
        return saved


def treat(
    model: nn.Module,
    data: Iterable[Any],
    diagnosis: Diagnosis | None = None,
    *,
    remedy: str | Sequence[Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    optimizer: Callable[[Any], Any] | None = None,
    evaluate: Iterable[Any] | None = None,
    train_steps: int = 0,
    max_batches: int = 8,
    seed: int = 0,
    progress: bool | str = False,
) -> Treatment:
    """Apply the first applicable remedy of the gravest finding and measure again at the same places.

    The model given is not changed. An exact remedy is verified, a calibrated one fitted on `data`, both by
    `normkit.convert`; with `train_steps` the treated model is then trained on `data` by `normkit.training.fit`.

    Args:
        model: as for `diagnose`.
        data: as for `diagnose`; read several times.
        loss: as for `diagnose`.
        forward: as for `diagnose`.
        max_batches: as for `diagnose`; also how many batches a calibrated remedy is fitted on.
        seed: as for `diagnose`; of the training too.
        diagnosis: of this model on these data; made here where it is not given.
        remedy: rules to apply instead: slugs joined by commas, or a list of slugs or rules of `normkit.conversion`.
        optimizer: factory from parameters to a `torch.optim.Optimizer`, for the training.
        evaluate: batches by which quality is judged before and after; by default the first 256 of `data`.
        train_steps: budget of training after the conversion.
        progress: shows the training on stderr; a string is its title.

    Raises:
        ValueError: no finding has a remedy that a rule can apply, every remedy was refused (with the reasons), the
            remedy needs training and `train_steps` is 0, or the data can be read only once.
        TypeError, FloatingPointError: as `diagnose`.
    """
    started = time.perf_counter()
    if iter(data) is data:
        raise ValueError(
            "treat reads the data several times, and an iterator can be read once: pass a list or a DataLoader"
        )
    options: dict[str, Any] = {"loss": loss, "forward": forward, "max_batches": max_batches, "seed": seed}
    diagnosis = diagnosis or diagnose(model, data, **options)
    finding, remedies = _chosen(diagnosis, remedy)
    conversion, refused = _converted(model, remedies, data, max_batches, seed)
    if conversion.kind == "fresh" and not train_steps:
        raise ValueError(f"{_names(conversion)} needs training afterwards: pass train_steps= (--train-steps)")
    judged = list(islice(evaluate if evaluate is not None else data, _JUDGED))
    before = quality(model, judged, loss=loss, forward=forward)
    if train_steps:
        from normkit.training import fit

        fit(conversion.model, data, loss=loss, forward=forward, optimizer=optimizer, steps=train_steps, seed=seed,
            progress=progress)  # fmt: skip
        conversion.model.train(model.training)
    again = diagnose(conversion.model, data, probes=[finding.probe], **options)
    cost = {
        "seconds": time.perf_counter() - started,
        "train_steps": train_steps,
        "time_ratio": conversion.time_ratio,
        "parameters": _parameters(conversion.model) - _parameters(model),
    }
    return Treatment(
        probe=finding.probe,
        to=tuple(conversion.to),
        before=finding,
        after=again[finding.probe] if again.findings else gone(finding, again.skipped[0].reason),
        quality_before=before,
        quality_after=quality(conversion.model, judged, loss=loss, forward=forward),
        conversion=conversion,
        cost=cost,
        remarks=tuple(refused),
    )


def gone(finding: Finding, reason: str) -> Finding:
    """The finding after a treatment that removed the places themselves: 0 at each of them, by construction."""
    from dataclasses import replace

    sites = tuple(replace(site, figure=0.0, severity="ok", detail={"by_construction": True}) for site in finding.sites)
    return replace(finding, severity="ok", sites=sites, figure=0.0, remedies=(), summary=reason, detail={})


def quality(
    model: nn.Module,
    batches: Sequence[Any],
    *,
    loss: Callable[[Any, Any], Tensor] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
) -> Quality | None:
    """Accuracy where the targets are classes and no `loss` is given, else the mean loss; None without either."""
    from normkit.training import accuracy, mean_loss, targets_of

    if loss is not None:
        return Quality("loss", (mean_loss(model, batches, loss=loss, forward=forward),))
    target = targets_of(batches[0]) if forward is None or isinstance(batches[0], dict | tuple | list) else None
    if target is None or target.is_floating_point():
        return None
    try:
        return Quality("accuracy", (accuracy(model, batches, forward=forward),))
    except (ValueError, TypeError):
        return Quality("loss", (mean_loss(model, batches, forward=forward),))


def _chosen(diagnosis: Diagnosis, remedy: str | Sequence[Any] | None) -> tuple[Finding, Sequence[Sequence[Any]]]:
    """The finding to treat and the remedies to try, each a list of rules."""
    if remedy is not None:
        wanted = [name.strip() for name in remedy.split(",")] if isinstance(remedy, str) else list(remedy)
        slugs = tuple(each if isinstance(each, str) else each.slug for each in wanted)
        if by_rule(*slugs) is None:
            from normkit.conversion import rules

            unknown = next(slug for slug in slugs if slug not in rules())
            raise ValueError(f"there is no remedy {unknown!r}: {meant(unknown, rules())}")
        return _finding_for(diagnosis, slugs), [wanted]
    for finding in diagnosis.findings:
        rules_of = [list(each.to) for each in finding.remedies if by_rule(*each.to)]
        if finding.severity != "ok" and rules_of:
            return finding, rules_of
    if diagnosis.severity == "ok":
        raise ValueError("nothing to treat: every probe says ok; name a remedy to apply one all the same")
    advice = next(each for each in diagnosis.findings if each.severity != "ok")
    line = advice.remedies[0].python if advice.remedies else advice.summary
    raise ValueError(f"no rule can treat {advice.probe}; what helps: {line}")


def _finding_for(diagnosis: Diagnosis, slugs: tuple[str, ...]) -> Finding:
    """The gravest finding among whose remedies the rules are, else the gravest of all."""
    from normkit.diagnosis._framework.discovery import probes

    known = probes()
    for finding in diagnosis.findings:
        kind = known.get(finding.probe)
        if kind and any(set(slugs) & set(to) for to in kind.remedies):
            return finding
    if not diagnosis.findings:
        raise ValueError("no probe could run on this model, so there is nothing to measure before and after")
    return diagnosis.findings[0]


def _converted(
    model: nn.Module, remedies: Sequence[Sequence[Any]], data: Iterable[Any], max_batches: int, seed: int
) -> tuple[Any, list[str]]:
    """The first conversion that is not refused, and why those before it were."""
    from normkit.conversion import ConversionError, convert
    from normkit.training import inputs_of

    batches = list(islice(data, max_batches))
    try:
        example = inputs_of(batches[0])
    except TypeError:
        example = None
    refused: list[str] = []
    for to in remedies:
        try:
            return convert(model, list(to), data=batches, example=example, seed=seed), refused
        except ConversionError as error:
            refused.append(f"{','.join(getattr(each, 'slug', each) for each in to)} was refused: {error}")
    raise ValueError("; ".join(refused))


def _names(conversion: Any) -> str:
    return ",".join(conversion.to)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
