"""The stream of a stack of blocks as it is seen to flow, for every library whose blocks are followed by one LayerNorm.

What a family's table of names would say is read from one forward pass: the sums are the stream, the LayerNorms that
read it are its readers, the maps whose outputs are summed its writers. That nothing but LayerNorms reads the stream is
checked step by step, and the converted network is verified like any other.
"""

from collections.abc import Iterator
from inspect import signature

from torch import nn

from normkit.conversion._framework.rule import Refusal, Site
from normkit.conversion._streams.stack import Map, Reader, Scale, Stack
from normkit.surgery import Residuals, Step, SubLayer, residuals, submodule

__all__ = ["is_bare", "is_stacked", "observed"]

_STILL = {"dropout", "dropout_", "to", "float", "double", "contiguous", "clone", "type_as", "type"}
_SCALED = {"mul", "mul_", "__mul__", "__rmul__", "__imul__", "div", "__truediv__"}


def is_stacked(module: nn.Module) -> bool:
    """Whether a module holds a LayerNorm and, beside it or one level down, a list of blocks with LayerNorms inside."""
    if not any(isinstance(child, nn.LayerNorm) for child in module.children()):
        return False
    near = [*module.children(), *(inner for child in module.children() for inner in child.children())]
    return any(_is_row(part) for part in near)


def is_bare(module: nn.Module) -> bool:
    """Whether a module holds a list of blocks with LayerNorms inside and no LayerNorm of its own: Post-LN, maybe."""
    return any(_is_row(child) for child in module.children()) and not is_stacked(module)


def observed(site: Site) -> Stack:
    """The stream of the stack at a site.

    Raises:
        Refusal: the flow was not seen, its blocks are not Pre-LN, or something but a LayerNorm reads the stream.
    """
    if site.flow is None or not any(step.shapes for step in site.flow.steps):
        raise Refusal("where its stream flows must be seen: pass example= (an input) or data=")
    return _Observed(site, residuals(site.model, site.flow)).stack()


class _Observed:
    """One site and what flows in it."""

    def __init__(self, site: Site, found: Residuals) -> None:
        assert site.flow is not None
        self.site, self.found, self.steps = site, found, site.flow.steps
        self.path = site.flow.canonical.get(site.path, site.path)
        self.layers = [layer for layer in found.layers if self._holds(layer.block)]

    def stack(self) -> Stack:
        self._require_pre()
        final = self._final()
        norm = submodule(self.site.model, final)
        assert isinstance(norm, nn.LayerNorm)
        readers, compressible = self._readers()
        tables = self._tables(self.layers[0].stream) or ()
        chains = [self._chain(layer, index) for layer in self.layers for index in layer.branches]
        parameters = signature(self.site.module.forward).parameters
        hugging = type(self.site.module).__module__.startswith("transformers.")
        return Stack(
            width=norm.normalized_shape[-1],
            entry=self._inside(self.layers[0].block),
            readers=readers,
            final=self._inside(final),
            writers=tuple(self._writer(index) for layer in self.layers for index in layer.branches),
            tables=tables,
            dropouts=tuple(dict.fromkeys([*self._dropouts(), *(name for drops, _ in chains for name in drops)])),
            embedded="inputs_embeds" if tables and "inputs_embeds" in parameters else "",
            exposed="hidden states between the blocks (output_hidden_states=True)" if hugging else "",
            scales=tuple(scale for _, scales in chains for scale in scales),
            compressible=compressible,
        )

    def _require_pre(self) -> None:
        if not self.layers:
            raise Refusal("no residual sum x + M(norm(x)) is made in its blocks")
        for layer in self.layers:
            if "post" in layer.placement:
                raise Refusal(
                    f"it is Post-LN: the output of {layer.after[0]} is the stream itself, so its mean is read and "
                    "cannot be dropped"
                )
            if layer.unclear:
                raise Refusal(f"{layer.unclear[0]} stands at the end of what it adds, and more is done behind it")
            if layer.out:
                raise Refusal(f"{layer.out[0]} writes to the stream: no recentring of weights takes out a norm's mean")
        streams = {layer.stream for layer in self.layers} - {layer.sum for layer in self.layers}
        if len(streams) > 1:
            raise Refusal("it holds several streams (stages, or an encoder and a decoder in one): convert them apart")
        if self.layers[0].stream > self.layers[0].sum:
            raise Refusal("its stream is made after it is read")
        for index in sorted(streams | {layer.sum for layer in self.layers}):
            self._require_norms(index)

    def _require_norms(self, index: int) -> None:
        """Refuse a stream that anything but a norm or the next sum reads: it would see that the mean is gone."""
        sums = {layer.sum for layer in self.layers}
        for step in self.found.readers(self.steps, index):
            norm = step.kind == "module" and isinstance(submodule(self.site.model, step.path), nn.LayerNorm)
            if not norm and step.index not in sums and not _is_rotary(step):
                what = "what the model returns" if step.kind == "output" else f"{step.path or step.name}"
                raise Refusal(f"{what} reads the stream itself, with its mean, and not through a LayerNorm")

    def _final(self) -> str:
        last = self.layers[-1].sum
        ends = [step.path for step in self.found.readers(self.steps, last)]
        if len(ends) != 1 or not self._holds(ends[0]):
            raise Refusal("it has no final norm of its own that alone reads the stream's end")
        return ends[0]

    def _readers(self) -> tuple[tuple[Reader, ...], str]:
        """The norms inside with the maps that read them; and the first reader that is no map, which forbids d − 1."""
        readers, other = [], ""
        for name in dict.fromkeys(name for layer in self.layers for name in layer.into):
            maps = []
            for step in (reader for call in self._calls(name) for reader in self.found.readers(self.steps, call)):
                entry = self._map(step, 1) if step.kind == "module" else None
                other = other or ("" if entry else f"{step.path or step.name} reads {name} and is no known linear map")
                maps += [entry] if entry else []
            readers.append(Reader(self._inside(name), tuple(dict.fromkeys(maps))))
        return tuple(readers), other

    def _calls(self, path: str) -> list[int]:
        return [step.index for step in self.steps if step.kind == "module" and step.path == path]

    def _writer(self, index: int) -> Map:
        step = self.steps[index]
        found = self._map(step, 0) if step.kind == "module" else None
        if found is None:
            raise Refusal(f"{step.path or step.name} writes to the stream and is not known to be a plain linear map")
        return found

    def _map(self, step: Step, axis: int) -> Map | None:
        """A linear map by the axis of its weight that belongs to the stream: 0 of a writer's, 1 of a reader's."""
        if not self._holds(step.path):
            return None
        module, name = submodule(self.site.model, step.path), self._inside(step.path)
        if type(module).__name__ == "MultiheadAttention":
            return Map(f"{name}.out_proj", 0) if axis == 0 else Map(name, 1, "in_proj_weight", "in_proj_bias")
        if type(module).__name__ == "Conv1D":
            return Map(name, 1 - axis)
        return Map(name, axis) if type(module).__name__ == "Linear" else None

    def _chain(self, layer: SubLayer, index: int) -> tuple[list[str], list[Scale]]:
        """The dropouts and the layer scales between a writer and its sum."""
        dropouts: list[str] = []
        scales: list[Scale] = []
        for step in self._kept(index, layer.sum):
            if step.kind == "module":
                module = submodule(self.site.model, step.path)
                dropouts += [self._inside(step.path)] if isinstance(module, nn.Dropout) else []
                scales += [
                    Scale(self._inside(step.path), name, self._writer(index))
                    for name, _ in module.named_parameters(recurse=False)
                ]
            elif step.name in _SCALED and not any(isinstance(each, (int, float)) for each in step.arguments.values()):
                raise Refusal(f"in {layer.block} what a branch writes is multiplied by a tensor that is no layer scale")
            elif step.name not in _STILL | _SCALED:
                raise Refusal(f"in {layer.block} what a branch writes is moved about ({step.name}) before it is added")
        return dropouts, scales

    def _kept(self, index: int, end: int) -> Iterator[Step]:
        """The steps that hand on what the step `index` gave, up to `end`."""
        for step in self.steps[index + 1 : end]:
            if self.found.sources[step.index] == index:
                yield step

    def _dropouts(self) -> Iterator[str]:
        """Dropouts on the stream as it starts."""
        start = self.layers[0].stream
        for step in self._kept(start, self.layers[0].sum):
            if step.kind == "module" and isinstance(submodule(self.site.model, step.path), nn.Dropout):
                yield self._inside(step.path)

    def _tables(self, index: int) -> tuple[Map, ...] | None:
        """The embeddings whose sum the stream starts as; None where it starts otherwise."""
        step = self.steps[self.found.sources[index]]
        if step.kind == "module":
            plain = self._holds(step.path) and type(submodule(self.site.model, step.path)).__name__ == "Embedding"
            return (Map(self._inside(step.path), 1),) if plain else None
        if not step.name.strip("_").endswith("add") or len(step.reads) != 2:
            return None
        parts = [self._tables(read) for read in step.reads]
        return None if None in parts else tuple(table for part in parts if part for table in part)

    def _holds(self, path: str) -> bool:
        return not self.path or f"{path}.".startswith(f"{self.path}.")

    def _inside(self, path: str) -> str:
        return path.removeprefix(f"{self.path}.") if self.path else path


def _is_rotary(step: Step) -> bool:
    """Rotary embeddings are handed the stream for its device and type."""
    return step.kind == "module" and "rotary" in step.name.lower()


def _is_row(part: nn.Module) -> bool:
    if not isinstance(part, (nn.ModuleList, nn.Sequential)) or not len(part):
        return False
    return all(len(list(block.children())) > 1 and _has_norm(block) for block in part)


def _has_norm(block: nn.Module) -> bool:
    return any(isinstance(part, nn.LayerNorm) for part in block.modules())
