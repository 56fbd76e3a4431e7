"""The sub-layers of a network's residual streams, and the norms at each, read from the data flow and never from names.

A sub-layer is a sum x + M(…) in which one side, the branch, was computed from the other, the stream, through a linear
map. What a norm is to it follows from what the norm reads and who reads it:

- into: it reads the stream, and the branch is computed from it;
- out: what it gives is what is added (but for dropout, casts, views, a scale, a shift and the sign);
- after: it reads the sum, and what it gives is the stream that goes on;
- inside: it stands in the branch and is none of these (queries' and keys' norms);
- unclear: as out, but for a gate, a choice or a function behind it, so that no one can say without looking.

A norm is a function or a module that is called one, or what divides an activation by a root of its mean square.

`post_attention_layernorm` is "into" the MLP in Llama and "out" of attention in Gemma 2; here it is what it does.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

from torch import nn

from normkit.surgery.find import submodule
from normkit.surgery.flow import Flow, Step
from normkit.surgery.normalizing import ancestors, written_out
from normkit.surgery.sub_layer import Residuals, SubLayer

__all__ = ["is_vector_norm", "residuals"]

_SUMS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_LINEAR = {"linear", "matmul", "__matmul__", "bmm", "baddbmm", "addmm", "einsum", "multi_head_attention_forward"}
_ATTENTION = {"softmax", "scaled_dot_product_attention", "multi_head_attention_forward"}
_NORMS = {"layer_norm", "rms_norm", "group_norm", "batch_norm"}
_SHIFTS = {*_SUMS, "sub", "sub_", "__sub__", "__rsub__", "neg", "neg_", "__neg__"}  # where they read one activation
_KEEPS = {  # functions of one activation that change neither what it says nor how it is normalised
    *("to", "float", "half", "bfloat16", "double", "type", "type_as", "contiguous", "clone", "detach"),
    *("view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "permute", "movedim"),
    *("dropout", "dropout_", "mul", "mul_", "__mul__", "__rmul__", "__imul__", "div", "__truediv__", "__getitem__"),
}


def residuals(model: nn.Module, flow: Flow) -> Residuals:
    """Find the sub-layers of `model` in a `flow` that was traced with an example."""
    return _Reading(model, flow).residuals()


def is_vector_norm(module: nn.Module) -> bool:
    """Whether a module is a normaliser, its own or another library's: by its class, with vectors for parameters."""
    named = "norm" in type(module).__name__.lower() or isinstance(module, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm))
    return named and all(parameter.ndim <= 1 for parameter in module.parameters())


class _Reading:
    """One flow being read: which step descends from which, and what each step is."""

    def __init__(self, model: nn.Module, flow: Flow) -> None:
        self.model, self.steps = model, flow.steps
        self.ancestors = ancestors(self.steps)
        self.written_out = written_out(self.steps)

    def residuals(self) -> Residuals:
        layers = tuple(self._layer(place, *found) for place, found in self.sums.items())
        placed = {name for layer in layers for name in _named(layer)}
        starts = [self._name(index) for index in sorted(self.streams) if index in self.norms]
        ends = [self._name(index) for index, read in self.norms.items() if read in self.sums]
        sources = tuple(self.source(step.index) for step in self.steps)
        return Residuals(layers, _unique(starts, placed), _unique(ends, {*placed, *starts}), sources)

    @cached_property
    def norms(self) -> dict[int, int]:
        """Every step that normalises, and the step that gave what it reads its values."""
        called = {step.index: step.reads[0] for step in self.steps if step.reads and self._is_norm(step)}
        return {index: self.source(read) for index, read in sorted({**called, **self.written_out}.items())}

    @cached_property
    def streams(self) -> set[int]:
        """The steps that gave a stream its values, as it comes into some sub-layer."""
        return {self.source(stream) for stream, _ in self.sums.values()}

    @cached_property
    def sums(self) -> dict[int, tuple[int, int]]:
        """Every residual sum: its step, and the steps of the stream and of the branch that it reads."""
        found: dict[int, tuple[int, int]] = {}
        for step in self.steps:
            if step.kind != "function" or step.name not in _SUMS or len(step.reads) != 2:
                continue
            one, two = step.reads
            if self._shape(one) != self._shape(two) or len(step.shapes[0]) < 2:
                continue
            for stream, branch in ((one, two), (two, one)):
                if any(self._leads(origin, branch) for origin in self._origins(stream, found)):
                    found[step.index] = (stream, branch)
                    break
        return found

    def _origins(self, stream: int, sums: dict[int, tuple[int, int]]) -> Iterator[int]:
        """The stream, and the one before it where x + a(x) + b(x) is summed from the left."""
        yield (source := self.source(stream))
        if source in sums:
            yield self.source(sums[source][0])

    def _leads(self, start: int, end: int) -> bool:
        """Whether `end` was computed from `start` through a linear map."""
        if not self.ancestors[end] >> start & 1:
            return False
        return any(self._is_linear(step) for step in self._between(start, end))

    def _between(self, start: int, end: int) -> list[Step]:
        """The steps on the ways from `start` to `end`, `end` included."""
        steps = self.steps[start + 1 : end + 1]
        needed = self.ancestors[end] | 1 << end
        return [step for step in steps if needed >> step.index & 1 and self.ancestors[step.index] >> start & 1]

    def _layer(self, place: int, stream: int, branch: int) -> SubLayer:
        branches = tuple(self._branches(branch))
        start = next(origin for origin in self._origins(stream, self.sums) if self._leads(origin, branch))
        steps = {step.index: step for end in branches for step in self._between(start, end)}
        norms = [index for index in sorted(steps) if index in self.norms]
        ends = {self._unshifted(end) for end in branches}
        out = [index for index in norms if index in ends]
        into = [index for index in norms if index not in out and self.norms[index] == start]
        rest = [index for index in norms if index not in out and index not in into]
        unclear = [index for index in rest if any(self._leads_to_end(index, end) for end in branches)]
        inside = [index for index in rest if index not in unclear]
        after = self._after(place, bool(into or out))
        kinds = dict.fromkeys(self._kind(start, end) for end in branches)
        named = (tuple(self._name(index) for index in group) for group in (into, out, after, inside, unclear))
        return SubLayer(
            self._block(place, steps.values()), place, self.source(stream), branches, "+".join(kinds), *named
        )

    def _kind(self, start: int, end: int) -> str:
        attends = any(step.name in _ATTENTION or "Attention" in step.name for step in self._between(start, end))
        return "attention" if attends else "mlp"

    def _unshifted(self, index: int) -> int:
        """The step that gave an activation its values but for a sign and a constant: neither undoes a norm."""
        step = self.steps[index]
        while len(step.reads) == 1 and step.name in _SHIFTS and step.index not in self.norms:
            step = self.steps[self.source(step.reads[0])]
        return step.index

    def _leads_to_end(self, norm: int, end: int) -> bool:
        """Whether a branch ends in a norm but for functions of single entries."""
        if not self.ancestors[end] >> norm & 1:
            return False
        return not any(self._is_linear(step) or step.name in _ATTENTION for step in self._between(norm, end))

    def _branches(self, branch: int) -> Iterator[int]:
        """The steps that wrote a branch: through dropout and scales, and through sums of branches side by side."""
        source = self.source(branch)
        step = self.steps[source]
        if step.name in _SUMS and len(step.reads) == 2 and source not in self.sums:
            for part in step.reads:
                yield from self._branches(part)
        else:
            yield source

    def _after(self, place: int, normed: bool) -> list[int]:
        """Norms that the sum goes through before it is a stream again; of a last sum without others, those behind it.

        In a pre-norm network, and in one whose sums go on as they are, what stands behind the last sum is the norm of
        the stream's end.
        """
        if place in self.streams:
            return []
        readers = [index for index, read in self.norms.items() if read == place]
        goes_on_plain = self.source(self.sums[place][0]) in self.sums
        last = readers if self.goes_on_normed or not (normed or goes_on_plain) else []
        return [index for index in readers if index in self.streams] or last

    @cached_property
    def goes_on_normed(self) -> bool:
        """Whether some sum is normalised before it is the next one's stream: so is the last one then."""
        return any(read in self.sums and index in self.streams for index, read in self.norms.items())

    def source(self, index: int) -> int:
        """The step that gave an activation its values, behind dropout, casts, views and scales."""
        step = self.steps[index]
        while len(step.reads) == 1 and step.index not in self.written_out and self._keeps(step):
            step = self.steps[step.reads[0]]
        return step.index

    def _is_norm(self, step: Step) -> bool:
        if step.kind == "function":
            return step.name in _NORMS
        if step.kind != "module":
            return False
        return is_vector_norm(submodule(self.model, step.path)) or bool(written_out(step.inside))

    def _keeps(self, step: Step) -> bool:
        if step.kind == "function":
            return step.name in _KEEPS
        if step.kind != "module" or self._is_norm(step):
            return False
        module = submodule(self.model, step.path)
        name = type(module).__name__.lower()
        scale = "scale" in name and all(parameter.ndim <= 1 for parameter in module.parameters())
        return isinstance(module, (nn.Identity, nn.modules.dropout._DropoutNd)) or "drop" in name or scale

    def _is_linear(self, step: Step) -> bool:
        if step.kind == "function":
            return step.name in _LINEAR or step.name.startswith("conv")
        matrices = submodule(self.model, step.path).parameters() if step.kind == "module" else ()
        return any(parameter.ndim >= 2 for parameter in matrices)

    def _shape(self, index: int) -> tuple[int, ...] | None:
        """The shape of an activation; of several that one step gave, the first."""
        return next(iter(self.steps[index].shapes), None)

    def _block(self, place: int, steps: Iterable[Step]) -> str:
        """The path around the sum, or around the branch where the sum stands outside all lists, to its last number."""
        caller = self.steps[place].caller
        if not any(name.isdigit() for name in caller.split(".")):
            paths = [step.path.split(".") for step in steps if step.path]
            shared = 0
            while paths and all(len(path) > shared and path[shared] == paths[0][shared] for path in paths):
                shared += 1
            caller = ".".join(paths[0][:shared]) if paths else caller
        names = caller.split(".")
        last = max((index for index, name in enumerate(names) if name.isdigit()), default=len(names) - 1)
        return ".".join(names[: last + 1])

    def _name(self, index: int) -> str:
        step = self.steps[index]
        return step.path or ("norm" if index in self.written_out else step.name)


def _named(layer: SubLayer) -> tuple[str, ...]:
    return (*layer.into, *layer.out, *layer.after, *layer.inside, *layer.unclear)


def _unique(names: list[str], besides: set[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(names) if name not in besides)
