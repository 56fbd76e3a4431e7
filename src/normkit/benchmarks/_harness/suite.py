"""What a suite says: an operation, its peers, its sizes, and the truth that all are checked against."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from normkit.benchmarks._harness.bar import Bar
from normkit.benchmarks._harness.setting import Case, Scene, Shape

__all__ = ["Bar", "Case", "Inputs", "Peer", "Scene", "Shape", "Suite", "element_scale", "unit_scale"]

Inputs = tuple[Tensor, ...]


def element_scale(reference: Float[Tensor, "*shape"], inputs: Inputs) -> Float[Tensor, "*shape"]:
    """An error counts in units in the last place of each element itself (a softmax: small entries matter)."""
    return reference.abs()


def unit_scale(reference: Float[Tensor, "*shape"], inputs: Inputs) -> Float[Tensor, "*shape"]:
    """An error counts in units in the last place of 1 where the element is smaller.

    The outputs of a norm are of size 1 and cross zero, where a relative error says nothing.
    """
    return reference.abs().clamp_min(1.0)


@dataclass(frozen=True)
class Peer:
    """Another way of computing the operation.

    Args:
        name: how the peer is called in the table, e.g. `torch`.
        call: takes the suite's inputs and returns the result; takes `out=` too where `writes_out`.
        writes_out: whether `call` can write into memory that is given to it.
        differentiable: whether autograd passes through it.
        largest: elements of the first input above which the peer is left out (one that takes minutes helps nobody).
        prepare: what the inputs become before the clock runs, for a peer with its own tensors.
        device: the kind of device that it is made for; None for any.
        requires: a package that it needs; without it the peer is left out with the reason.
        same: whether it computes the same function. One that does not is there for its cost (what a network would pay
            for the layer that it has today) and is not checked.
    """

    name: str
    call: Callable[..., Any]
    writes_out: bool = False
    differentiable: bool = True
    largest: int | None = None
    prepare: Callable[[Inputs], Inputs] | None = None
    device: str | None = None
    requires: str | None = None
    same: bool = True


@dataclass(frozen=True)
class Suite:
    """An operation to time, found by listing `normkit.benchmarks`.

    Args:
        op: name of the operation; the record's `op`, and in `normkit.functional` where `public` stands there.
        family: suites of one family are run by the family's name too.
        public: the public function as a call on the inputs (and `out=`, `kernel=` where it takes them).
        reference: the same function in plain torch operations; evaluated in float64 it is the truth.
        peers: others that compute the same; the first is what most people use today.
        inputs: makes the inputs of a shape from a generator: normal random numbers.
        shapes: the sizes of the kernels' view.
        user_shapes: the sizes of the user's view: what a network calls.
        quick_shapes: what `--quick` looks at.
        backward_shapes: the sizes of the kernels' view backwards.
        cases: adversarial inputs: name, shape, maker of the first input; or a `Case`, which can say more.
        bytes_forward, bytes_backward: necessary bytes per element of a float32 input, every tensor crossing memory
            once; None where the question makes no sense.
        writes_out: whether `public` takes `out=`.
        rowwise: whether rows of the last axis are independent (then large inputs are checked on a share of rows).
        scale: per element, the size whose unit in the last place errors are counted in.
        most_ulp: the largest error of `public` that still passes, forward.
        most_gradient_ulp: the same of its gradients.
        forward: whether the kernels' view is shown (a training step has none).
        bars: the ratios that its rows must reach.
        on_gpu: the settings on a GPU; the user's view of the CPU where the suite names none.
        bars_on_gpu: the ratios that rows of a GPU must reach.
    """

    op: str
    family: str
    public: Callable[..., Any]
    reference: Callable[..., Any]
    peers: tuple[Peer, ...]
    inputs: Callable[[Shape, torch.Generator], Inputs]
    shapes: tuple[Shape, ...]
    user_shapes: tuple[Shape, ...]
    quick_shapes: tuple[Shape, ...]
    backward_shapes: tuple[Shape, ...] = ()
    cases: tuple[tuple[str, Shape, Callable[[Shape], Tensor]] | Case, ...] = ()
    fresh_shapes: tuple[Shape, ...] = ()
    half_shapes: tuple[Shape, ...] = ()
    bytes_forward: int | None = 8
    bytes_backward: int | None = 12
    writes_out: bool = False
    rowwise: bool = False
    scale: Callable[[Tensor, Inputs], Tensor] = unit_scale
    most_ulp: float = 16.0
    most_gradient_ulp: float = 256.0
    forward: bool = True
    bars: tuple[Bar, ...] = ()
    on_gpu: tuple[Scene, ...] = ()
    bars_on_gpu: tuple[Bar, ...] = ()

    @property
    def output(self) -> str:
        """Where the kernels' view lets the results go: into given memory where the public function takes `out=`."""
        return "reused" if self.writes_out else "fresh"

    def scenes(self, threads: tuple[int, ...], *, quick: bool = False) -> Iterator[Scene]:
        """The settings in the order in which they are shown: the user's view, then the kernels' view."""
        most = max(threads)
        for shape in self.quick_shapes[:1] if quick else self.user_shapes:
            yield Scene(shape, most, "fwd+bwd", "fresh")
        if self.forward:
            yield from self._kernel_view(threads, self.quick_shapes if quick else self.shapes, quick)

    def gpu_scenes(self, *, quick: bool = False) -> Iterator[Scene]:
        """The settings on a GPU, or with `quick` one of them in the size of a test."""
        if quick:
            yield Scene(self.quick_shapes[0], mode="fwd" if self.forward else "fwd+bwd", device="cuda")
            return
        yield from self.on_gpu or (Scene(shape, mode="fwd+bwd", device="cuda") for shape in self.user_shapes)

    def bars_of(self, scene: Scene) -> tuple[Bar, ...]:
        """The bars that stand for the scene's kind of device."""
        return self.bars_on_gpu if scene.device == "cuda" else self.bars

    def _kernel_view(self, threads: tuple[int, ...], shapes: tuple[Shape, ...], quick: bool) -> Iterator[Scene]:
        for count in threads:
            for shape in shapes:
                yield Scene(shape, count, "fwd", self.output, kernels=count == min(threads))
        if quick:
            return
        first = Scene((), min(threads))
        for shape in self.backward_shapes:
            yield replace(first, shape=shape, mode="bwd")
        for shape in self.fresh_shapes:
            yield replace(first, shape=shape)
        for shape in self.half_shapes:
            yield replace(first, shape=shape, output=self.output, dtype=torch.bfloat16)
        for case in self._cases():
            for shape in case.shapes:
                yield replace(first, shape=shape, output=self.output, case=case.name, kernels=case.kernels)

    def _cases(self) -> Iterator[Case]:
        for case in self.cases:
            yield case if isinstance(case, Case) else Case(case[0], (case[1],), case[2])

    def _case(self, scene: Scene) -> Case:
        named = (case for case in self._cases() if case.name == scene.case and scene.shape in case.shapes)
        return next(named, Case(scene.case, (scene.shape,)))

    def called_as(self, scene: Scene) -> "Suite":
        """The same suite, its functions called with the keyword arguments of the scene's case."""
        options = self._case(scene).options
        if not options:
            return self
        peers = tuple(replace(peer, call=partial(peer.call, **options)) for peer in self.peers)
        public, reference = partial(self.public, **options), partial(self.reference, **options)
        return replace(self, public=public, reference=reference, peers=peers, rowwise=False)

    def make(self, scene: Scene, seed: int) -> Inputs:
        """The inputs of a scene."""
        with scene.place:
            inputs = self.inputs(scene.shape, torch.Generator(scene.place).manual_seed(seed))
        if build := self._case(scene).build:
            inputs = (build(scene.shape), *inputs[1:])
        return tuple(each.to(scene.dtype) if each.is_floating_point() else each for each in inputs)

    def necessary_bytes(self, scene: Scene, inputs: Inputs) -> int | None:
        """Bytes that must cross memory in this scene, None where the suite does not say."""
        parts = {"fwd": (self.bytes_forward,), "bwd": (self.bytes_backward,)}
        wanted = parts.get(scene.mode, (self.bytes_forward, self.bytes_backward))
        if any(part is None for part in wanted):
            return None
        per_element = sum(part for part in wanted if part is not None)
        return int(per_element * inputs[0].numel() * inputs[0].element_size() / 4)
