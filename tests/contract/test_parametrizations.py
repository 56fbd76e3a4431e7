"""What every parametrisation of `normkit.weights` owes its users; found by `__all__`, built by its instances."""

import copy
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.nn.utils import parametrize

from normkit import weights
from tests.weights.instances import INSTANCES, Instance

PARAMETRISATIONS = [found for name in weights.__all__ if isinstance(found := getattr(weights, name), type)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}

every_instance = pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: instance.name)


def test_every_parametrisation_has_an_instance() -> None:
    covered = {parametrisation for instance in INSTANCES for parametrisation in instance.of}
    missing = [found.__name__ for found in PARAMETRISATIONS if found not in covered]
    assert not missing, f"add them to tests/weights/instances.py: {missing}"


@every_instance
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_dtype_and_value(instance: Instance, dtype: torch.dtype) -> None:
    exact = instance.module(dtype).double()
    x = instance.input(dtype)
    y = instance.module(dtype)(x)
    assert y.dtype == dtype
    assert_close(y, exact(x.double() if x.is_floating_point() else x), TOLERANCE[dtype])


@every_instance
def test_device_argument(instance: Instance) -> None:
    module = instance.build(device="meta", dtype=torch.float32)
    assert all(tensor.is_meta for tensor in module.state_dict().values())
    assert module(instance.input(torch.float32).to("meta")).is_meta


@every_instance
def test_gradients(instance: Instance) -> None:
    module, x = instance.module(), instance.input()
    names = [name for name, _ in module.named_parameters()]

    def function(*parameters: Tensor) -> Tensor:
        return functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    assert gradcheck(function, tuple(module.parameters()))
    assert gradgradcheck(function, tuple(module.parameters()))


@every_instance
def test_gradients_by_sample(instance: Instance) -> None:
    """What differentially private training needs: vmap over the samples of the gradient of one."""
    module, x = instance.module(), instance.input()

    def loss(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(module, parameters, (sample[None],)).square().sum()

    parameters = dict(module.named_parameters())
    by_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    whole = torch.func.grad(lambda p: functional_call(module, p, (x,)).square().sum())(parameters)
    for name in parameters:
        assert_close(by_sample[name].sum(0), whole[name], 1e-10)


@every_instance
def test_autocast(instance: Instance) -> None:
    module, x = instance.module(torch.float32), instance.input(torch.float32)
    wanted = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(module(x), wanted, TOLERANCE[torch.bfloat16])


@pytest.fixture
def annotations_unchecked() -> Iterator[None]:
    """What torch.compile traces is the package as users have it, without the tests' checks of annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@every_instance
@pytest.mark.usefixtures("annotations_unchecked")
def test_compile_without_graph_breaks(instance: Instance) -> None:
    module, x = instance.module(), instance.input()
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), module(x), 1e-12)
    parameters = tuple(module.parameters())
    ours, wanted = (torch.autograd.grad(f(x).square().sum(), parameters) for f in (compiled, module))
    for a, b in zip(ours, wanted, strict=True):
        assert_close(a, b, 1e-10)


@every_instance
def test_export(instance: Instance) -> None:
    module, x = instance.module(), instance.input()
    program = torch.export.export(copy.deepcopy(module), (x,))
    assert_close(program.module(check_guards=False)(x), module(x), 1e-12)


@every_instance
def test_deepcopy(instance: Instance) -> None:
    module, x = instance.module(), instance.input()
    twin = copy.deepcopy(module)
    assert not {id(p) for p in module.parameters()} & {id(p) for p in twin.parameters()}
    before = module(x)
    assert torch.equal(twin(x), before)
    weights.bake(twin)
    assert torch.equal(module(x), before)
    assert tuple(module.state_dict()) == instance.state


@every_instance
def test_state_dict(instance: Instance) -> None:
    module, fresh, x = instance.module(), instance.build(dtype=torch.float64), instance.input()
    assert tuple(module.state_dict()) == instance.state
    fresh.load_state_dict(module.state_dict(), strict=True)
    assert torch.equal(fresh(x), module(x))


@every_instance
def test_bake(instance: Instance) -> None:
    module, x = instance.module(), instance.input()
    wanted = module(x).detach()
    holder = torch.nn.Sequential(module)
    assert weights.bake(holder) is holder
    plain = holder[0]
    assert type(plain) is instance.plain
    assert_close(plain(x), wanted, 1e-12)
    reference = instance.plain.__new__(instance.plain)
    assert set(vars(plain)) <= {*vars(module), *vars(reference)}
    names = {name for name, _ in plain.named_parameters()}
    assert names == ({"weight", "bias"} if hasattr(plain, "bias") else {"weight"})
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in plain.parameters())
    again = plain(x)
    assert torch.equal(weights.bake(holder)[0](x), again)


@every_instance
def test_assigning_a_weight(instance: Instance) -> None:
    """A weight that is normalised already is what the module then computes with (up to ε, made small here)."""
    module, x = instance.module(), instance.input()
    if not parametrize.is_parametrized(module):
        pytest.skip("a layer: its weight is the free one")
    step = module.parametrizations.weight[0]
    if getattr(step, "gain", None) is not None:
        pytest.skip("with a gain the weight is not standardised")
    if hasattr(step, "eps"):
        step.eps = 1e-13
    wanted = module(x)
    with torch.no_grad():
        module.weight = module.weight.clone()
    assert_close(module(x), wanted, 1e-10)


@every_instance
def test_nan_in_gives_nan_out(instance: Instance) -> None:
    module, x = instance.module(), instance.input()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.view(-1)[0] = float("nan")
    assert bool(module(x).isnan().any())


@every_instance
def test_reads_well(instance: Instance) -> None:
    assert type(instance.module()).__name__ in repr(instance.module())


def assert_close(ours: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert ours.shape == wanted.shape
    scale = max(1.0, wanted.abs().max().item())
    assert (ours.double() - wanted.double()).abs().max().item() <= tolerance * scale
