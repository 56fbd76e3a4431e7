"""What every layer of `normkit.nn` owes its users; found by `normkit.nn.__all__`, built by `tests/nn/instances.py`."""

import copy
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from normkit import nn
from tests.nn.instances import INSTANCES, Instance

CLASSES = [layer for name in nn.__all__ if isinstance(layer := getattr(nn, name), type)]
# A loss takes a target too: tests/nn has a test of its own for each.
LAYERS = [layer for layer in CLASSES if not issubclass(layer, torch.nn.modules.loss._Loss)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}

every_instance = pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: instance.name)
every_kind = pytest.mark.parametrize(
    "instance", [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.slow else []) for one in INSTANCES]
)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def test_every_layer_has_an_instance() -> None:
    missing = [layer.__name__ for layer in LAYERS if not any(issubclass(i.layer, layer) for i in INSTANCES)]
    assert not missing, f"add them to tests/nn/instances.py: {missing}"


@every_instance
@both_modes
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_shape_dtype_and_value(instance: Instance, training: bool, dtype: torch.dtype) -> None:
    exact = instance.module().train(training)(instance.input(dtype).double())
    y = instance.module(dtype).train(training)(instance.input(dtype))
    assert y.shape == instance.shape
    assert y.dtype == dtype
    assert_close(y, exact, 2 * TOLERANCE[dtype])


@every_instance
def test_running_statistics_stay_wide(instance: Instance) -> None:
    made, cast = instance.make(dtype=torch.bfloat16), instance.make().to(torch.bfloat16)
    for layer in (made, cast):
        assert all(parameter.dtype == torch.bfloat16 for parameter in layer.parameters())
        ours = (b for name, b in layer.named_buffers() if b.is_floating_point() and not is_torchs_own(layer, name))
        assert all(buffer.dtype == torch.float32 for buffer in ours)


@every_instance
def test_device_argument(instance: Instance) -> None:
    layer = instance.make(device="meta", dtype=torch.float32)
    assert all(tensor.is_meta for tensor in layer.state_dict().values())
    assert layer.eval()(torch.empty(instance.shape, device="meta")).shape == instance.shape


@every_instance
@both_modes
def test_autocast(instance: Instance, training: bool) -> None:
    x = instance.input(torch.bfloat16)
    layer = instance.module(torch.float32).train(training)
    wanted = copy.deepcopy(layer)(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert_close(y, wanted, TOLERANCE[torch.bfloat16])


@pytest.fixture
def annotations_unchecked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torch.compile traces is the package as users have it, without the tests' checks of annotations.

    A switched-off check is still a wrapper, which dynamo looks through except around an autograd function's methods.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    for function in torch.autograd.Function.__subclasses__():
        for name, method in vars(function).copy().items():
            if function.__module__.startswith("normkit.") and isinstance(method, staticmethod):
                monkeypatch.setattr(function, name, staticmethod(inspect.unwrap(method.__func__)))
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@every_kind
@both_modes
@pytest.mark.usefixtures("annotations_unchecked")
def test_compile_without_graph_breaks(instance: Instance, training: bool) -> None:
    eager = instance.module().train(training)
    other = copy.deepcopy(eager)
    torch.compiler.reset()
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for seed in (2, 3):  # twice, so that what the first call moved is seen by the second
        wanted, ours = (outcome(layer, instance.input(seed=seed)) for layer in (eager, compiled))
        for a, b in zip(ours, wanted, strict=True):
            assert_close(a, b, 1e-10)
    assert_same_state(other, eager, 1e-12)


@every_kind
@both_modes
def test_export(instance: Instance, training: bool) -> None:
    layer, x = instance.module().train(training), instance.input()
    program = torch.export.export(copy.deepcopy(layer), (x,))
    assert_close(program.module(check_guards=False)(x), layer(x), 1e-12)


@every_instance
@both_modes
def test_deepcopy(instance: Instance, training: bool) -> None:
    layer, x = instance.module().train(training), instance.input()
    twin = copy.deepcopy(layer)
    assert not {id(t) for t in tensors_of(layer)} & {id(t) for t in tensors_of(twin)}
    assert torch.equal(layer(x), twin(x))


@every_instance
def test_state_dict(instance: Instance) -> None:
    layer, x = instance.module(), instance.input()
    layer(x)  # moves running statistics, so that they too must travel
    assert tuple(layer.state_dict()) == instance.state
    fresh = instance.make(dtype=torch.float64)
    fresh.load_state_dict(layer.state_dict(), strict=True)
    assert_same_state(fresh, layer, 0)
    assert torch.equal(fresh.eval()(x), layer.eval()(x))


@every_kind
@both_modes
def test_gradients(instance: Instance, training: bool) -> None:
    layer, x = instance.module().train(training), instance.input().requires_grad_()
    function, inputs = stateless(layer), (x, *layer.parameters())
    many = sum(tensor.numel() for tensor in inputs) > 128  # then along random directions, not element by element
    with may_fail(instance, "gradcheck", training):
        assert gradcheck(function, inputs, fast_mode=many)
    with may_fail(instance, "gradgradcheck", training):
        assert gradgradcheck(function, inputs, fast_mode=many)


@every_instance
def test_modes(instance: Instance) -> None:
    layer, x = instance.module(), instance.input()
    before = copy.deepcopy(layer.state_dict())
    layer.eval()(x)
    assert_same_state(layer, before, 0)
    layer.train()(x)
    has_state = any("running" in name for name in before) and getattr(layer, "apply_act", True)
    moved = {name for name, value in layer.state_dict().items() if not torch.equal(value, before[name])}
    assert bool(moved) == has_state
    assert moved <= {name for name, _ in layer.named_buffers()}
    if not has_state:
        assert torch.equal(layer.train()(x), layer.eval()(x))


@every_instance
@both_modes
def test_empty_batch(instance: Instance, training: bool) -> None:
    layer = instance.module().train(training)
    before = copy.deepcopy(layer.state_dict())
    x = torch.empty(0, *instance.shape[1:], dtype=torch.float64, requires_grad=True)
    with may_fail(instance, "empty batch", training):
        y = layer(x)
        assert y.shape == x.shape
        y.sum().backward()
        assert all(bool(value.isfinite().all()) for value in layer.state_dict().values())
        moved = {name for name, value in layer.state_dict().items() if not torch.equal(value, before[name])}
        assert not {name for name in moved if "num_batches" not in name}


@every_instance
@both_modes
def test_one_element(instance: Instance, training: bool) -> None:
    axes = len(instance.shape) - 2
    trailing = (instance.shape[1], *[1] * axes) if instance.channels_second else instance.shape[1:]
    with may_fail(instance, "one element", training):
        y = instance.module().train(training)(instance.input(shape=(1, *trailing)))
        assert y.shape == (1, *trailing)
        assert bool(y.isfinite().all())


@every_instance
@both_modes
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_in_gives_nan_out(instance: Instance, training: bool, bad: float) -> None:
    x = instance.input()
    where = (0,) * x.ndim
    x[where] = bad
    assert not instance.module().train(training)(x)[where].isfinite()


@every_kind
@both_modes
@pytest.mark.parametrize("layout", ["transposed", "strided", "channels_last"])
def test_memory_layouts(instance: Instance, training: bool, layout: str) -> None:
    x = instance.input()
    if layout == "channels_last" and x.ndim != 4:
        pytest.skip("only maps have channels")
    layer = instance.module().train(training)
    wanted = outcome(copy.deepcopy(layer), x)
    for a, b in zip(outcome(layer, laid_out(x, layout)), wanted, strict=True):
        assert_close(a, b, 1e-12)


@every_kind
@both_modes
def test_vmap(instance: Instance, training: bool) -> None:
    layer = instance.module().train(training)
    batches = torch.stack([instance.input(seed=seed) for seed in (2, 3)])
    wanted = torch.stack([copy.deepcopy(layer)(batch) for batch in batches])
    with may_fail(instance, "vmap", training):
        assert_close(torch.vmap(layer)(batches), wanted, 1e-12)


@every_kind
@both_modes
def test_functional_transforms(instance: Instance, training: bool) -> None:
    layer, x = instance.module().train(training), instance.input()
    twin, parameters, buffers = copy.deepcopy(layer), dict(layer.named_parameters()), dict(layer.named_buffers())

    def loss(parameters: dict[str, Tensor], x: Tensor, buffers: dict[str, Tensor]) -> Tensor:
        return functional_call(layer, (parameters, buffers), (x,)).square().sum()

    by_name, for_x = torch.func.grad(loss, argnums=(0, 1))(parameters, x, buffers)
    leaf = x.clone().requires_grad_()
    wanted = torch.autograd.grad(twin(leaf).square().sum(), (leaf, *twin.parameters()))
    for a, b in zip((for_x, *by_name.values()), wanted, strict=True):
        assert_close(a, b, 1e-10)


@every_kind
@both_modes
def test_forward_derivative(instance: Instance, training: bool) -> None:
    """`torch.func.jvp` pushes forward what the gradient pulls back: ⟨w, J t⟩ = ⟨Jᵀ w, t⟩."""
    layer, x = instance.module().train(training), instance.input()
    along, parameters = instance.input(seed=3), dict(layer.named_parameters())

    def function(x: Tensor) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
        y = functional_call(layer, (parameters, buffers), (x,))
        return (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)).sum()

    with may_fail(instance, "forward derivative", training):
        _, pushed = torch.func.jvp(function, (x,), (along,))
        assert_close(pushed, (torch.func.grad(function)(x) * along).sum(), 1e-10)


@every_instance
def test_reset_and_repr(instance: Instance) -> None:
    layer, fresh = instance.module(), instance.make(dtype=torch.float64)
    layer(instance.input())
    torch.manual_seed(0)  # as `make` does
    if instance.state:
        torch.manual_seed(0)
        layer.reset_parameters()
    assert_same_state(layer, fresh, 0)
    assert type(layer).__name__ in repr(layer)


@every_instance
def test_reset_after_the_meta_device(instance: Instance) -> None:
    """As FSDP starts large models: nothing is in the memory yet, and `reset_parameters` must fill all of it."""
    layer = instance.make(device="meta", dtype=torch.float64).to_empty(device="cpu")
    for tensor in layer.state_dict().values():
        tensor.fill_(7)
    torch.manual_seed(0)  # as `make` does
    if instance.state:
        torch.manual_seed(0)
        layer.reset_parameters()
    assert_same_state(layer, instance.make(dtype=torch.float64), 0)


@every_instance
def test_integers_and_misfits_are_refused(instance: Instance) -> None:
    layer = instance.module().eval()
    with pytest.raises(TypeError, match="int64"):
        layer(torch.ones(instance.shape, dtype=torch.int64))
    if not instance.fixed_size:
        return
    axis = 1 if instance.channels_second else -1
    shape = list(instance.shape)
    shape[axis] += 1
    with pytest.raises(ValueError, match=re.escape(str(tuple(shape)))):
        layer(torch.ones(shape, dtype=torch.float64))


def assert_close(ours: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert ours.shape == wanted.shape
    scale = max(1.0, wanted.abs().max().item()) if wanted.numel() else 1.0
    assert ours.numel() == 0 or (ours.double() - wanted.double()).abs().max().item() <= tolerance * scale


def assert_same_state(layer: torch.nn.Module, wanted: Any, tolerance: float) -> None:
    wanted = wanted.state_dict() if isinstance(wanted, torch.nn.Module) else wanted
    for name, value in layer.state_dict().items():
        assert_close(value.double(), wanted[name].double(), tolerance)


def tensors_of(layer: torch.nn.Module) -> list[Tensor]:
    return [*layer.parameters(), *layer.buffers()]


def is_torchs_own(layer: torch.nn.Module, name: str) -> bool:
    owner = layer.get_submodule(name.rpartition(".")[0])
    return type(owner).__module__.startswith("torch.")


def outcome(layer: torch.nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Output and all gradients of a weighted sum of it."""
    leaf = x.detach().requires_grad_()
    y = layer(leaf)
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    return y.detach(), *torch.autograd.grad((y * weights).sum(), (leaf, *layer.parameters()))


def stateless(layer: torch.nn.Module) -> Callable[..., Tensor]:
    """The layer as a function of input and parameters, always from the same running statistics."""
    names = [name for name, _ in layer.named_parameters()]

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(copy.deepcopy(layer), dict(zip(names, parameters, strict=True)), (x,))

    return function


def laid_out(x: Tensor, layout: str) -> Tensor:
    """The same values in other strides."""
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    return torch.stack([x, torch.zeros_like(x)], dim=-1)[..., 0]


@contextmanager
def may_fail(instance: Instance, check: str, training: bool) -> Iterator[None]:
    """Nothing, or the error that the instance declares for this check in this mode."""
    pattern = instance.cannot.get(f"{check} {'train' if training else 'eval'}", instance.cannot.get(check))
    if pattern is None:
        yield
        return
    with pytest.raises((RuntimeError, ValueError), match=pattern):  # NotImplementedError is a RuntimeError
        yield
