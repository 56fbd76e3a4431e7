"""What holds for every operation; operations are found by listing `normkit.functional`, so a new one is tested too.

A call that moves running statistics does so in the copy that the test made for it.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from normkit import kernels
from normkit.kernels.dispatch import KernelError, Op, Sample
from normkit.kernels.triton.availability import INTERPRETED
from normkit.listing import names

OPERATIONS = kernels.operations()
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 4e-2, torch.float16: 5e-3}


@dataclass(frozen=True)
class Call:
    """One call of an operation's public function, on fresh copies of its tensors each time."""

    op: Op
    sample: Sample

    @property
    def function(self) -> Callable[..., Any]:
        return getattr(import_module(f"normkit.functional.{self.op.name}"), self.op.name)

    def arguments(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> dict[str, Any]:
        bound = inspect.signature(self.function).bind(*self.sample.args, **self.sample.options).arguments
        moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in bound.items()}
        return {name: value.to(dtype, copy=True) if is_float(value) else value for name, value in moved.items()}

    @property
    def differentiable(self) -> list[str]:
        """Names of the float tensors that are no buffers."""
        return [name for name, value in self.arguments().items() if is_float(value) and not name.startswith("running")]

    @property
    def moves_buffers(self) -> bool:
        return bool(self.arguments().get("training"))

    def first(self, **options: Any) -> tuple[str, Tensor, Callable[[Tensor], Any]]:
        """Name and value of the first tensor, and the call as a function of it."""
        arguments = self.arguments()
        name = self.differentiable[0]
        value = arguments.pop(name)
        return name, value, lambda tensor: self.function(**{**self.arguments(), name: tensor}, **options)

    def __call__(self, dtype: torch.dtype = torch.float64, **options: Any) -> Tensor:
        return self.function(**self.arguments(dtype), **options)

    def gradients(self, dtype: torch.dtype = torch.float64, device: str = "cpu", **options: Any) -> tuple[Tensor, ...]:
        """Output, then gradients of `loss` by every differentiable argument."""
        arguments = self.arguments(dtype, device)
        inputs = [arguments[name].requires_grad_() for name in self.differentiable]
        y = self.function(**arguments, **options)
        return y.detach(), *torch.autograd.grad(loss(y), inputs)


def is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def finite(y: Tensor) -> Tensor:
    """Without infinities, of which no differences of values can be taken."""
    return y.masked_fill(y.isinf(), 0.0)


def loss(y: Tensor) -> Tensor:
    """A fixed direction of the output (its sum of squares would not do: a normaliser keeps that constant)."""
    return (finite(y) * torch.linspace(-1, 2, y.numel(), dtype=y.dtype, device=y.device).view(y.shape)).sum()


CALLS = [Call(op, sample) for op in OPERATIONS.values() for sample in op.samples()]
every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.op.name)
every_operation = pytest.mark.parametrize("op", OPERATIONS.values(), ids=lambda op: op.name)
one_call_each = pytest.mark.parametrize(
    "call", [next(call for call in CALLS if call.op is op) for op in OPERATIONS.values()], ids=lambda call: call.op.name
)


@pytest.fixture
def annotations_unchecked() -> Iterator[None]:
    """What torch.compile traces is the package as users have it, without the tests' checks of annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    torch.compiler.reset()
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def close(ours: Any, wanted: Any, dtype: torch.dtype) -> None:
    """The same shapes, and the same numbers up to `dtype`'s tolerance times the largest entry (or 1) of a tensor."""
    pairs = zip(ours, wanted, strict=True) if isinstance(wanted, list) else [(ours, wanted)]
    for one, other in pairs:
        largest = other.detach().nan_to_num(0, 0, 0).abs().max().item() if other.numel() else 0
        bound = TOLERANCE[dtype] * max(1.0, largest)
        assert_close(one, other, rtol=0, atol=bound, equal_nan=True, check_dtype=False)


# softmax_pair: two results and nothing to choose between.
WITHOUT_OPERATION = ["softmax_pair"]


def test_one_module_holds_one_function_and_one_operation() -> None:
    assert sorted([*OPERATIONS, *WITHOUT_OPERATION]) == names("normkit.functional")


@every_operation
def test_public_face(op: Op) -> None:
    """torch's own arguments, then keyword-only `kernel` and `out`; samples exist; the docstring says what is raised."""
    function = Call(op, Sample((), {})).function
    parameters = inspect.signature(function).parameters
    for name in ("kernel", "out"):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default is None
    assert "Raises:" in (function.__doc__ or "")
    assert list(op.samples())


@every_operation
def test_twin_takes_the_same_leading_arguments(op: Op) -> None:
    if op.twin is None:
        pytest.skip("torch has no such function")
    signature = inspect.signature(Call(op, Sample((), {})).function)
    ours = [name for name, parameter in signature.parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    try:
        twin = [name for name in inspect.signature(twin_of(op)).parameters if not name.startswith("_")]
    except ValueError:  # a builtin: its schema has the names
        twin = [
            argument.name.replace("self", "input") for argument in torch.ops.aten.logsumexp.default._schema.arguments
        ]
    assert ours == twin


def twin_of(op: Op) -> Callable[..., Any]:
    module, _, name = (op.twin or "").rpartition(".")
    return getattr(import_module(module), name)


@every_call
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_default_agrees_with_the_reference(call: Call, dtype: torch.dtype) -> None:
    y = call(dtype)
    assert y.dtype == dtype
    rounded = Call(call.op, Sample((), call.arguments(dtype)))
    close(y.double(), rounded(torch.float64, kernel="reference"), dtype)


@every_call
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_default_gradients_agree_with_the_reference(call: Call, dtype: torch.dtype) -> None:
    wanted = call.gradients(kernel="reference")
    close([value.double() for value in call.gradients(dtype)], list(wanted), dtype)


@every_operation
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_kernel_agrees_with_the_reference(op: Op, dtype: torch.dtype) -> None:
    for name, implementation in op.implementations.items():
        device = "cuda" if name == "triton" and not (INTERPRETED or implementation.why_not) else "cpu"
        done = 0
        for call in (call for call in CALLS if call.op is op):
            try:
                ours = call.gradients(dtype, device, kernel=name)
            except KernelError:
                continue
            done += 1
            close([value.double().cpu() for value in ours], list(call.gradients(kernel="reference")), dtype)
        excused = implementation.why_not or dtype == torch.float64
        assert done or excused, f"{name} took none of {op.name}'s samples"


@pytest.mark.usefixtures("annotations_unchecked")
@every_call
@pytest.mark.parametrize("recorded", [False, True])
def test_an_array_in_place_of_a_tensor_is_named(call: Call, recorded: bool) -> None:
    for name, value in call.arguments().items():
        if is_float(value) and not name.startswith("running"):
            array = {**call.arguments(torch.float32), name: value.float().numpy()}
            with torch.set_grad_enabled(recorded), pytest.raises(TypeError, match=r"must be a torch.Tensor, got numpy"):
                call.function(**array)


@every_call
def test_reference_derivatives(call: Call) -> None:
    """First and second derivative of the reference against differences of values, in float64."""
    arguments = call.arguments()

    def function(*inputs: Tensor) -> Tensor:
        replaced = dict(zip(call.differentiable, inputs, strict=True))
        return finite(call.function(**{**call.arguments(), **replaced}, kernel="reference"))

    inputs = [arguments[name].requires_grad_() for name in call.differentiable]
    few = inputs[0].numel() <= 64
    assert torch.autograd.gradcheck(function, inputs, fast_mode=not few)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=not few)


@every_call
def test_default_second_derivative(call: Call) -> None:
    arguments = call.arguments()
    few = arguments[call.differentiable[0]].numel() <= 64
    inputs = [arguments[name].requires_grad_() for name in call.differentiable]

    def function(*inputs: Tensor) -> Tensor:
        return finite(call.function(**{**call.arguments(), **dict(zip(call.differentiable, inputs, strict=True))}))

    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=not few)


@every_call
def test_out_receives_the_result(call: Call) -> None:
    wanted = call(torch.float32)
    out = torch.full_like(wanted, torch.nan)
    assert call(torch.float32, out=out) is out
    close(out, wanted, torch.float32)


@one_call_each
def test_out_that_does_not_fit_is_refused(call: Call) -> None:
    y = call(torch.float32)
    with pytest.raises(ValueError, match=f"{call.op.name}: out must have the shape"):
        call(torch.float32, out=y.new_empty((*y.shape, 2)))
    with pytest.raises(ValueError, match=f"{call.op.name}: out must be torch.float32, got torch.float64"):
        call(torch.float32, out=y.double())
    with pytest.raises(ValueError, match=f"{call.op.name}: out= gives no gradient"):
        call(torch.float32, out=y.requires_grad_())


@one_call_each
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_what_is_not_float_is_refused_by_name(call: Call, dtype: torch.dtype) -> None:
    _, value, function = call.first()
    with pytest.raises(TypeError, match=str(dtype)):
        function(value.abs().clamp(max=1).to(dtype))


@one_call_each
def test_unknown_kernel_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match=f"{call.op.name} has no kernel 'abacus'; there are .*'reference'"):
        call(kernel="abacus")


@one_call_each
def test_kernels_can_be_switched_off(call: Call) -> None:
    wanted = call(torch.float32)
    with kernels.disabled(*call.op.implementations):
        assert torch.equal(call(torch.float32), call(torch.float32, kernel="reference"))
        for name in call.op.implementations:
            with pytest.raises(KernelError, match="switched off"):
                call(torch.float32, kernel=name)
    close(call(torch.float32), wanted, torch.float32)


@every_call
def test_nan_in_nan_out(call: Call) -> None:
    _, value, function = call.first()
    value.view(-1)[0] = torch.nan
    assert function(value).isnan().any()


@every_call
def test_memory_order_does_not_matter(call: Call) -> None:
    _, value, function = call.first()
    if value.ndim < 2:
        return
    for other in (value.mT.contiguous().mT, torch.cat([value, value], -1)[..., : value.shape[-1]]):
        assert not other.is_contiguous() or value.shape[-1] == 1 or value.shape[-2] == 1
        close(function(other), function(value), torch.float64)
        close(function(other.float()), function(value.float()), torch.float32)


@one_call_each
@pytest.mark.usefixtures("annotations_unchecked")
def test_compile_without_graph_breaks(call: Call) -> None:
    dtype = torch.float32
    compiled = torch.compile(call.function, fullgraph=True, backend="aot_eager")
    close(compiled(**call.arguments(dtype)), call(dtype), dtype)
    arguments = call.arguments(dtype)
    inputs = [arguments[name].requires_grad_() for name in call.differentiable]
    ours = torch.autograd.grad(loss(compiled(**arguments)), inputs)
    close(list(ours), list(call.gradients(dtype)[1:]), dtype)


class Exported(torch.nn.Module):
    """A module around a call of which one tensor is left open."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@one_call_each
@pytest.mark.usefixtures("annotations_unchecked")
def test_export(call: Call) -> None:
    name, value, _ = call.first()
    rest = {key: argument for key, argument in call.arguments(torch.float32).items() if key != name}
    exported = torch.export.export(Exported(lambda x: call.function(**{name: x}, **rest)), (value.float(),))
    close(exported.module()(value.float()), call(torch.float32), torch.float32)


@one_call_each
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_vmap(call: Call, dtype: torch.dtype) -> None:
    value = call.arguments()[call.differentiable[0]]
    pair = torch.stack([value, value.flip(-1)]).to(dtype)

    def cast(x: Tensor) -> Tensor:
        rest = call.arguments(dtype)
        return call.function(**{**rest, call.differentiable[0]: x})

    if call.moves_buffers:
        with pytest.raises(RuntimeError, match="vmap"):  # one buffer cannot move two ways
            torch.vmap(cast)(pair)
        return
    close(torch.vmap(cast)(pair), torch.stack([cast(pair[0]), cast(pair[1])]), dtype)


@one_call_each
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_functional_gradient(call: Call, dtype: torch.dtype) -> None:
    name = call.differentiable[0]

    def total(x: Tensor) -> Tensor:
        return loss(call.function(**{**call.arguments(dtype), name: x}))

    close(torch.func.grad(total)(call.arguments(dtype)[name]), call.gradients(dtype)[1], dtype)


@one_call_each
def test_shapes_without_numbers(call: Call) -> None:
    """On the meta device: a shape and a dtype come out, nothing is computed."""
    arguments = {key: v.to("meta") if isinstance(v, Tensor) else v for key, v in call.arguments().items()}
    y = call.function(**arguments)
    assert (y.device.type, y.shape, y.dtype) == ("meta", call().shape, torch.float64)


def opinfo_samples(op: Op, dtype: torch.dtype) -> Iterator[Any]:
    """torch's own samples of the twin, the ones that its test suite runs."""
    pytest.importorskip("expecttest", reason="torch's operator samples need the package expecttest")
    from torch.testing._internal.common_methods_invocations import op_db

    name = (op.twin or "").removeprefix("torch.").removeprefix("nn.functional.")
    info = next(info for info in op_db if info.name.removeprefix("nn.functional.") == name)
    yield from info.sample_inputs("cpu", dtype, requires_grad=True)


def in_float64(sample: Any, leaves: list[Tensor]) -> tuple[Any, list[Tensor]]:
    """The sample in float64, and its leaves in the order of `leaves`."""
    widened: dict[int, Tensor] = {}

    def wide(value: Any) -> Any:
        if value is torch.float32:
            return torch.float64
        if not is_float(value):
            return value
        return widened.setdefault(id(value), value.detach().double().requires_grad_(value.requires_grad))

    return sample.transform(wide), [widened[id(leaf)] for leaf in leaves]


@every_operation
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_torchs_own_samples(op: Op, dtype: torch.dtype) -> None:
    if op.twin is None:
        pytest.skip("torch has no such function")
    function, twin, done = Call(op, Sample((), {})).function, twin_of(op), 0
    for sample in opinfo_samples(op, dtype):
        leaves = [value for value in (sample.input, *sample.args, *sample.kwargs.values()) if is_float(value)]
        leaves = [leaf for leaf in leaves if leaf.requires_grad]  # class weights have no derivative in torch
        if sample.kwargs.get("eps", 0.0) < 0:  # torch takes it and gives NaN or not, by what it is added to
            with pytest.raises(ValueError, match="eps must be at least 0"):
                function(sample.input, *sample.args, **sample.kwargs)
            continue
        ours = function(sample.input, *sample.args, **sample.kwargs)
        assert ours.dtype == twin(sample.input, *sample.args, **sample.kwargs).dtype
        wide, wide_leaves = in_float64(sample, leaves)  # torch's own float32 is further from the truth than ours
        exact = twin(wide.input, *wide.args, **wide.kwargs)
        close(ours, exact, dtype)
        weight = torch.randn_like(ours)
        gradients = torch.autograd.grad(ours, leaves, weight, allow_unused=True)
        wanted = torch.autograd.grad(exact, wide_leaves, weight.to(exact.dtype), allow_unused=True)
        close(list(gradients), list(wanted), dtype)
        done += 1
    assert done
