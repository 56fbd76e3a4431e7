"""What a probe is: what it needs, what it adds up while the model runs, what it concludes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from normkit.diagnosis._framework.context import Context
from normkit.diagnosis._framework.finding import Finding, Severity, Site, worst
from normkit.diagnosis._framework.remedy import applicable

__all__ = ["Mode", "ModuleProbe", "Place", "Probe"]

Mode = Literal["eval", "train"]


@dataclass
class Place:
    """A place that a probe watches: the module, its path, which call of it within a forward pass, and running sums."""

    path: str
    module: nn.Module
    call: int = 1
    sums: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
    """What the module was called with, while it is watched; empty at other times."""

    @property
    def name(self) -> str:
        """Path, with the number of the call where the module runs more than once in a forward pass."""
        return self.path if self.call == 1 else f"{self.path} (call {self.call})"


class Probe(ABC):
    """One pathology: how it is measured and from which figure on something should be done.

    A probe that is no hook on modules derives from this class and implements `run`; others derive from `ModuleProbe`.

    Class attributes:
        slug: name on the command line and in JSON.
        pathology: what goes wrong, in one sentence.
        unit, threshold, threshold_source: see `Finding`.
        needs: what must be passed to `diagnose`: of "data", "loss", "optimizer", "reference"; or "table" alone, for
            a probe that examines tables and no models (`context.table`).
        remedies: rules of `normkit.convert` that help, each alone or several in a row.
        rehearses: what the probe does beyond watching and what that costs; empty where it only watches.
    """

    slug: ClassVar[str]
    pathology: ClassVar[str]
    unit: ClassVar[str]
    threshold: ClassVar[float]
    threshold_source: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"data"})
    remedies: ClassVar[tuple[tuple[str, ...], ...]] = ()
    rehearses: ClassVar[str] = ""

    def begin(self, context: Context) -> str | None:
        """Look at the model before it runs; returns why the probe must be skipped (and what to pass), or None."""
        return None

    @abstractmethod
    def run(self, context: Context) -> Finding | str:
        """Conclude once the data have been seen; a string says why nothing could be concluded."""

    def conclude(
        self,
        sites: list[Site],
        *,
        summary: str,
        severity: Severity | None = None,
        remedies: tuple[Any, ...] | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Finding:
        """The finding that `sites` amount to: its figure and severity are those of the gravest of them."""
        severity = severity or worst([site.severity for site in sites])
        if remedies is None:
            remedies = applicable(self.remedies) if severity != "ok" else ()
        finding = Finding(
            self.slug, severity, tuple(sites), 0.0, self.unit, self.threshold, self.threshold_source, remedies, summary,
            detail or {},
        )  # fmt: skip
        return _with_worst_figure(finding)


class ModuleProbe(Probe):
    """A probe that watches modules (`applies`, `watch`) or single operations (`operations`, `watch_operation`).

    Only summaries may be kept in `place.sums`: counts, means, second moments; never an activation.
    """

    operations: ClassVar[frozenset[str]] = frozenset()
    """Names of the ATen operations to see, such as "aten::relu"."""
    wants_gradient: ClassVar[bool] = False
    """Whether `gradients` wants to be called with the loss of every batch."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, int], Place] = {}

    def mode(self, context: Context) -> Mode:
        """In which mode the model must run while this probe watches."""
        return "eval"

    def applies(self, module: nn.Module) -> bool:
        """Whether this module is one to watch."""
        return False

    def watch(self, place: Place, input: Tensor, output: Tensor) -> None:
        """Add one call of the module to the sums; `input` and `output` are the first tensors that it took and gave."""

    def watch_operation(self, place: Place, name: str, arguments: tuple[Any, ...], output: Any) -> None:
        """Add one call of an operation; `place` is the innermost module that runs."""

    def before_operation(self, place: Place, name: str, arguments: tuple[Any, ...]) -> None:
        """The same before the operation runs, for those that write into their input."""

    def gradients(self, loss: Tensor) -> None:
        """Take gradients with `torch.autograd.grad(loss, …, retain_graph=True)`; called where there is a loss."""

    def end_segment(self) -> None:
        """The batches seen since the last call belong together (one examination, or neighbouring training steps)."""

    @abstractmethod
    def finding(self, place: Place) -> Site | None:
        """What one place amounts to; None where it cannot be judged."""

    @abstractmethod
    def summary(self, sites: list[Site]) -> str:
        """One sentence for a person about all places."""

    def run(self, context: Context) -> Finding | str:
        """The sites in the order in which the model ran them."""
        sites = [site for place in self.places.values() if (site := self.finding(place))]
        return self.conclude(sites, summary=self.summary(sites))

    def place(self, path: str, module: nn.Module, call: int) -> Place:
        """The place for the `call`-th run of the module at `path`, made on first use."""
        return self.places.setdefault((path, call), Place(path, module, call))


def _with_worst_figure(finding: Finding) -> Finding:
    from dataclasses import replace

    site = finding.worst_site
    return replace(finding, figure=site.figure) if site else finding
