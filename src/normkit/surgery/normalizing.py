"""Norms that are written out in plain operations, recognised by what flows where and not by a name.

x · rsqrt(mean(x²) + ε), x / sqrt(…), x / ‖x‖, (x − mean(x)) / sqrt(var(x) + ε): a product or quotient of an activation,
centred or not, and a root of a mean over that activation.
"""

from collections.abc import Iterator, Sequence

from normkit.surgery.flow import Step

__all__ = ["ancestors", "written_out"]

_CASTS = {"to", "float", "half", "bfloat16", "double", "type", "type_as", "contiguous", "clone", "detach"}
_PRODUCTS = {"mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply"}
_QUOTIENTS = {"div", "div_", "__truediv__", "__itruediv__", "divide", "true_divide"}
_SHIFTS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_DIFFERENCES = {"sub", "sub_", "__sub__", "__isub__", "subtract"}
_MEANS = {"mean", "sum", "var", "var_mean"}
_ROOTS = {"sqrt", "sqrt_", "rsqrt", "rsqrt_"}
_POWERS = {"pow", "pow_", "__pow__", "float_power"}
_LENGTHS = {"std", "std_mean", "norm", "vector_norm", "linalg_vector_norm"}  # both at once


def written_out(steps: Sequence[Step]) -> dict[int, int]:
    """Every norm that functions of a flow make up: its last step, behind gain, shift and casts, and what it reads.

    Shapes: the scale must have fewer entries than what it scales, so the flow must have been traced with an example.
    """
    before = ancestors(steps)
    found = {}
    for step in steps:
        if step.kind == "function" and len(step.reads) == 2:
            read = next(_normalized(steps, before, step), None)
            if read is not None:
                found[_last(steps, step.index)] = read
    return found


def ancestors(steps: Sequence[Step]) -> list[int]:
    """For each step the steps that it needs, as bits: bit i is set where step i was needed. Shapes do not matter."""
    found: list[int] = []
    for step in steps:
        needed = 0
        for index in step.reads:
            needed |= found[index] | 1 << index
        found.append(needed)
    return found


def _normalized(steps: Sequence[Step], before: list[int], step: Step) -> Iterator[int]:
    """What a product or quotient normalises."""
    one, two = step.reads
    orders = [(one, two)] if step.name in _QUOTIENTS else [(one, two), (two, one)] if step.name in _PRODUCTS else []
    for value, scale in orders:
        read = _uncentred(steps, before, value)
        smaller = _size(steps[scale]) < _size(steps[value])
        if smaller and before[scale] >> read & 1 and _is_root_of_a_mean(steps, before, read, scale):
            yield read


def _is_root_of_a_mean(steps: Sequence[Step], before: list[int], start: int, end: int) -> bool:
    needed = before[end] | 1 << end
    way = [step for step in steps[start + 1 : end + 1] if needed >> step.index & 1 and before[step.index] >> start & 1]
    if any(step.kind != "function" for step in way):
        return False
    names = {step.name for step in way}
    halved = any(step.name in _POWERS and {0.5, -0.5} & _numbers(step) for step in way)
    return bool(names & _LENGTHS or (names & _MEANS and (names & _ROOTS or halved)))


def _uncentred(steps: Sequence[Step], before: list[int], index: int) -> int:
    """An activation behind casts, a gain and the subtraction of its mean."""
    step = _unscaled(steps, index)
    if step.name in _DIFFERENCES and len(step.reads) == 2:
        value, mean = _unscaled(steps, step.reads[0]), steps[step.reads[1]]
        if before[mean.index] >> value.index & 1 and _size(mean) < _size(value):
            return value.index
    return step.index


def _unscaled(steps: Sequence[Step], index: int) -> Step:
    """The step behind casts and gains (products with what is no activation)."""
    step = steps[index]
    while step.kind == "function" and step.reads and _is_cast_or_gain(step):
        step = steps[step.reads[0]]
    return step


def _is_cast_or_gain(step: Step) -> bool:
    return step.name in _CASTS or (step.name in _PRODUCTS | _QUOTIENTS and len(step.reads) == 1)


def _last(steps: Sequence[Step], index: int) -> int:
    """The end of a chain of gain, shift and casts that alone reads a step."""
    while True:
        readers = [step for step in steps[index + 1 :] if index in step.reads]
        alone = len(readers) == 1 and readers[0].kind == "function" and readers[0].reads == (index,)
        if not alone or readers[0].name not in _PRODUCTS | _SHIFTS | _CASTS:
            return index
        index = readers[0].index


def _size(step: Step) -> int:
    size = 1
    for length in next(iter(step.shapes), ()):
        size *= length
    return size


def _numbers(step: Step) -> set[float]:
    return {float(value) for value in step.arguments.values() if isinstance(value, (int, float))}
