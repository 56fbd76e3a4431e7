"""Who takes part in a scene: the public function, its kernels, its peers, each as a call without arguments."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from normkit.benchmarks._harness.record import Status, is_ours
from normkit.benchmarks._harness.suite import Inputs, Peer, Scene, Suite
from normkit.kernels import operations

__all__ = ["Candidate", "candidates"]

_LARGEST_REFERENCE = 2**23  # elements; it is there to be right, and its many passes take most of a run above


@dataclass
class Candidate:
    """A variant with its inputs and, once known, its error and why it is not timed."""

    peer: Peer
    inputs: Inputs
    run: Callable[[], object]
    error: float | None = None
    status: Status = "ok"
    reason: str = ""

    @property
    def name(self) -> str:
        """The record's `variant`."""
        return self.peer.name

    def fail(self, error: Exception) -> None:
        """Leave it out for what it raised: a kernel or a peer may be unable to do a call, normkit itself may not."""
        no_room = isinstance(error, torch.cuda.OutOfMemoryError)
        self.status = "wrong" if self.name == "normkit" and not no_room else "skipped"
        self.reason = " ".join((str(error) or type(error).__name__).split())

    @property
    def ours(self) -> bool:
        """Whether it is normkit's, not a peer's."""
        return is_ours(self.name)


def candidates(suite: Suite, scene: Scene, inputs: Inputs, upstream: Tensor, *, compiled: bool) -> list[Candidate]:
    """All variants of a scene; one that cannot do the call is among them with its reason."""
    peers = _variants(suite, scene, compiled, inputs)
    return [_candidate(scene, peer, inputs, upstream) for peer in peers]


def _variants(suite: Suite, scene: Scene, compiled: bool, inputs: Inputs) -> list[Peer]:
    ours = [Peer("normkit", suite.public, writes_out=suite.writes_out)]
    if scene.kernels and suite.op in operations():
        ours += [_forced(suite, name) for name in _kernels(suite.op, scene.device)]
    ours = [each for each in ours if _takes_part(each, scene, inputs)]
    peers = [peer for peer in suite.peers if _takes_part(peer, scene, inputs)]
    if (compiled or (scene.device == "cuda" and scene.kernels)) and scene.output == "fresh":
        torch.compiler.reset()  # else shape after shape fills the cache of compiled code, and the next one runs eager
        peers.append(Peer("torch.compile", torch.compile(suite.peers[0].call, dynamic=False)))
    return ours + peers


def _kernels(op: str, device: str) -> tuple[str, ...]:
    """The kernels to time one by one: on a GPU those that are made for it."""
    known = operations()[op].implementations
    return tuple(name for name in known if name == "triton") if device == "cuda" else (*known, "reference")


def _forced(suite: Suite, name: str) -> Peer:
    def call(*inputs: Tensor, **options: Any) -> Any:
        return suite.public(*inputs, kernel=name, **options)

    return Peer(
        f"normkit/{name}",
        call,
        writes_out=suite.writes_out,
        largest=_LARGEST_REFERENCE if name == "reference" else None,
    )


def _takes_part(peer: Peer, scene: Scene, inputs: Inputs) -> bool:
    fits = (peer.largest is None or inputs[0].numel() <= peer.largest) and peer.device in (None, scene.device)
    return fits and (peer.writes_out or scene.output == "fresh") and (peer.differentiable or scene.mode == "fwd")


def _candidate(scene: Scene, peer: Peer, inputs: Inputs, upstream: Tensor) -> Candidate:
    found = Candidate(peer, inputs, lambda: None)
    if peer.requires and find_spec(peer.requires) is None:
        found.status, found.reason = "skipped", f"{peer.requires} is not installed"
        return found
    makers = {"fwd": _forward, "bwd": _backward, "fwd+bwd": _both}
    try:
        found.inputs = peer.prepare(inputs) if peer.prepare else inputs
        found.run = makers[scene.mode](peer, scene, found.inputs, upstream)
    except Exception as error:  # a compiler's, a driver's: whatever it is, the others are timed
        found.fail(error)
    return found


def _forward(peer: Peer, scene: Scene, inputs: Inputs, upstream: Tensor) -> Callable[[], object]:
    call = peer.call
    first = call(*inputs)
    if scene.output == "fresh":
        return lambda: call(*inputs)
    out = torch.empty_like(first).fill_(math.nan)  # an element that is not written shows in the check
    return lambda: call(*inputs, out=out)


def _leaves(inputs: Inputs) -> tuple[Inputs, list[Tensor]]:
    leaves = tuple(each.detach().clone().requires_grad_(each.is_floating_point()) for each in inputs)
    return leaves, [leaf for leaf in leaves if leaf.requires_grad]


def _backward(peer: Peer, scene: Scene, inputs: Inputs, upstream: Tensor) -> Callable[[], object]:
    leaves, wanted = _leaves(inputs)
    output = peer.call(*leaves)
    return lambda: torch.autograd.grad(output, wanted, upstream, retain_graph=True)


def _both(peer: Peer, scene: Scene, inputs: Inputs, upstream: Tensor) -> Callable[[], object]:
    leaves, wanted = _leaves(inputs)
    peer.call(*leaves)
    return lambda: torch.autograd.grad(peer.call(*leaves), wanted, upstream)
