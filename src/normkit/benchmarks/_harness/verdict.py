"""Who may be timed: what is wrong against float64 may not, with the reason."""

from torch import Tensor

from normkit.benchmarks._harness.candidate import Candidate
from normkit.benchmarks._harness.correctness import Truth, gradients
from normkit.benchmarks._harness.suite import Scene
from normkit.kernels import available, operations

__all__ = ["judge"]

_PEER_ULP = 2.0**20
"""A peer whose error is larger than this computes another function; below it, its error is what the table shows."""


def judge(found: list[Candidate], truth: Truth, scene: Scene, upstream: Tensor) -> None:
    """Measure the error of each candidate and set those to `wrong` that exceed their limit."""
    checked = [each for each in found if each.status == "ok" and each.peer.same]
    for candidate in checked:
        try:
            candidate.error = truth.error(_result(candidate, scene, upstream))
        except Exception as error:  # a compiler's, a driver's: whatever it is, the others are timed
            candidate.fail(error)
    checked = [each for each in checked if each.status == "ok"]
    usual = next((each.error for each in checked if not each.ours and each.error is not None), 0.0)
    for candidate in checked:
        limit = _limit(candidate.name, truth, usual, scene.device)
        if candidate.error is None or not candidate.error <= limit:
            candidate.status = "wrong"
            candidate.reason = f"error of {candidate.error:.3g} units in the last place, at most {limit:.3g} is right"


def _limit(name: str, truth: Truth, usual: float, device: str) -> float:
    """The largest error that is right for a variant; `usual` is the error of what people use today."""
    strict = _own_kernels(truth.suite.op, device)
    if name == "normkit":
        # Where no kernel of ours runs, as in small calls to a GPU, the public function is torch's operation.
        return truth.limit if strict and device == "cpu" else max(truth.limit, usual)
    return truth.limit if name in strict else _PEER_ULP


def _own_kernels(op: str, device: str) -> set[str]:
    """Variants that must meet the suite's limit: the kernels that dispatch may take, without torch's operations.

    Kernels that are taken by name only are there to be compared with: they have their algorithm's own error.
    """
    known = operations().get(op)
    if known is None:
        return set()
    usable = {row["kernel"] for row in available() if row["op"] == op and row["usable"]}
    taken = list(known.implementations)[: len(known.kernels)]
    elsewhere = "native" if device == "cuda" else "triton"
    return {f"normkit/{name}" for name in taken if name in usable and name not in ("torch", elsewhere)}


def _result(candidate: Candidate, scene: Scene, upstream: Tensor) -> tuple[Tensor, ...]:
    if scene.mode != "fwd":
        return gradients(candidate.peer.call, candidate.inputs, upstream)
    found = candidate.run()
    assert isinstance(found, Tensor)
    return (found.to_dense() if found.is_mkldnn else found,)
