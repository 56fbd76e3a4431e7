"""The native family under autograd, transforms, modes and tensors that are not plain: always torch's answer."""

from collections.abc import Callable, Iterator

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from normkit.functional.log_softmax import log_softmax
from normkit.functional.logsumexp import logsumexp
from normkit.functional.softmax import softmax
from normkit.kernels import native
from normkit.kernels.softmax import supports

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)

Function = Callable[..., Tensor]
TWINS = [(softmax, torch.softmax), (log_softmax, torch.log_softmax), (logsumexp, torch.logsumexp)]
every_function = pytest.mark.parametrize(("ours", "torchs"), TWINS, ids=["softmax", "log_softmax", "logsumexp"])
# One is few enough to leave its gradient to torch's node, the other is not.
both_sizes = pytest.mark.parametrize("shape", [(3, 4, 5), (4, 3, 300)], ids=["small", "large"])


@pytest.fixture
def annotations_unchecked() -> Iterator[None]:
    """What torch.compile traces is the package as users have it, without the tests' checks of annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    torch.compiler.reset()
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def gradients(function: Function, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """First and second derivative along fixed directions."""
    x = x.clone().requires_grad_()
    y = function(x, dim)
    direction = torch.linspace(-1, 2, y.numel()).view(y.shape)
    (first,) = torch.autograd.grad(y, x, direction, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return first.detach(), second


@every_function
@both_sizes
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_first_and_second_derivative(ours: Function, torchs: Function, shape: tuple[int, ...], dim: int) -> None:
    x = 3 * torch.randn(shape)
    for one, other in zip(gradients(ours, x, dim), gradients(torchs, x.double(), dim), strict=True):
        assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@every_function
def test_parameter_and_no_grad(ours: Function, torchs: Function) -> None:
    weight = torch.nn.Parameter(torch.randn(2, 5))
    assert ours(weight, 1).requires_grad
    with torch.no_grad():
        assert not ours(weight, 1).requires_grad
    with torch.inference_mode():
        assert_close(ours(weight, 1), torchs(weight, 1))
    assert_close(ours(weight, 1), torchs(weight, 1))


def test_gradient_of_a_changed_output_is_refused() -> None:
    for size in (5, 5000):
        x = torch.randn(1, size, requires_grad=True)
        y = softmax(x)
        y.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@every_function
@both_sizes
def test_checkpointing(ours: Function, torchs: Function, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    y = checkpoint(lambda tensor: ours(tensor * 2, -1), x, use_reentrant=False)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    (wanted,) = torch.autograd.grad(torchs(x * 2, -1).square().sum(), x)
    assert_close(gradient, wanted, rtol=1e-4, atol=1e-4)


@every_function
def test_transforms(ours: Function, torchs: Function) -> None:
    x, rows = torch.randn(3, 6), torch.randn(6, 3)
    for function in (
        lambda f: torch.vmap(lambda row: f(row, 0))(x),
        lambda f: torch.vmap(lambda row: f(row, -1), in_dims=1)(rows),
        lambda f: torch.vmap(torch.vmap(lambda row: f(row, 0)))(x.view(3, 2, 3)),
        lambda f: torch.func.grad(lambda t: f(t, 1).square().sum())(x),
        lambda f: torch.vmap(torch.func.grad(lambda t: f(t, 0).square().sum()))(x),
        lambda f: torch.func.jacrev(lambda t: f(t, 0))(x[0]),
        lambda f: torch.func.jacfwd(lambda t: f(t, 0))(x[0]),
        lambda f: torch.func.hessian(lambda t: f(t, 0).square().sum())(x[0]),
        lambda f: torch.func.jvp(lambda t: f(t, 1), (x,), (rows.mT.contiguous(),))[1],
        lambda f: torch.func.vjp(lambda t: f(t, 1), x)[1](torchs(x, 1))[0],
        lambda f: torch.autograd.functional.jacobian(lambda t: f(t, 0), x[0], vectorize=True),
    ):
        assert_close(function(ours), function(torchs), rtol=1e-4, atol=1e-5)


@every_function
def test_dual_numbers(ours: Function, torchs: Function) -> None:
    x, tangent = torch.randn(2, 5), torch.randn(2, 5)
    with forward_ad.dual_level():
        pair = (forward_ad.unpack_dual(f(forward_ad.make_dual(x, tangent), 1)).tangent for f in (ours, torchs))
        assert_close(*pair)


class Recorder(TorchDispatchMode):
    """Notes which operators pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@every_function
def test_a_mode_sees_the_call(ours: Function, torchs: Function) -> None:
    x = torch.randn(2, 5)
    with Recorder() as recorder:
        y = ours(x, -1)
    assert any(name.startswith("normkit.") for name in recorder.seen)
    assert_close(y, torchs(x, -1))


@every_function
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(ours: Function, torchs: Function, mode: str) -> None:
    graph = make_fx(lambda x: ours(x, -1), tracing_mode=mode)(torch.randn(2, 5))
    x = torch.randn(2, 5)
    assert_close(graph(x), torchs(x, -1))


@every_function
def test_fake_and_meta_tensors(ours: Function, torchs: Function) -> None:
    x = torch.randn(2, 5)
    with FakeTensorMode() as mode:
        fake = ours(mode.from_tensor(x), -1)
    assert fake.shape == torchs(x, -1).shape
    outside = ours(mode.from_tensor(x), -1)
    assert outside.shape == torchs(x, -1).shape
    assert ours(x.to("meta"), -1).device.type == "meta"


class Doubled(Tensor):
    """A subclass whose operations double their input: its elements are not what its memory holds."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        plain = [arg.as_subclass(Tensor) if isinstance(arg, Doubled) else arg for arg in args]
        if func in (torch.softmax, torch.log_softmax, torch.logsumexp):
            plain[0] = plain[0] * 2
        return func(*plain, **(kwargs or {}))


@every_function
def test_a_subclass_is_left_to_torch(ours: Function, torchs: Function) -> None:
    x = torch.randn(2, 5)
    assert "Doubled" in (supports("softmax", x.as_subclass(Doubled), 1) or "")
    assert_close(ours(x.as_subclass(Doubled), 1), torchs(x * 2, 1))


@every_function
def test_negative_views(ours: Function, torchs: Function) -> None:
    """The imaginary part of a conjugate: memory holds the numbers with the other sign."""
    z = torch.randn(2, 5, dtype=torch.complex64)
    assert z.conj().imag.is_neg()
    assert_close(ours(z.conj().imag, 1), torchs(-z.imag, 1))


@every_function
def test_compiled_with_dynamic_shapes_and_transforms(
    ours: Function, torchs: Function, annotations_unchecked: None
) -> None:
    compiled = torch.compile(lambda x: ours(x, -1), fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in ((2, 5), (3, 7), (1, 3000)):
        x = torch.randn(shape, requires_grad=True)
        assert_close(compiled(x), torchs(x, -1), rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(compiled(x).square().sum(), x)
        (wanted,) = torch.autograd.grad(torchs(x, -1).square().sum(), x)
        assert_close(gradient, wanted, rtol=1e-4, atol=1e-4)
    batched = torch.compile(torch.vmap(lambda row: ours(row, 0)), fullgraph=True, backend="aot_eager")
    assert_close(batched(x.detach()), torchs(x.detach(), 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked_zero", [True, False])
@pytest.mark.parametrize("width", [6, 3000])
def test_masked_rows(masked_zero: bool, width: int) -> None:
    """A row that is all −inf: zeros (−inf for the logarithm) and no gradient if asked for, else NaN as in torch."""
    x = torch.randn(2, width)
    x[1] = -torch.inf
    for function, torchs, filled in ((softmax, torch.softmax, 0.0), (log_softmax, torch.log_softmax, -torch.inf)):
        leaf = x.clone().requires_grad_()
        y = function(leaf, masked_zero=masked_zero)
        assert_close(y[0], torchs(x[0], 0), rtol=1e-5, atol=1e-6)
        (gradient,) = torch.autograd.grad(y, leaf, torch.randn_like(y))
        if masked_zero:
            assert (y[1] == filled).all()
            assert (gradient[1] == 0).all()
        else:
            assert y[1].isnan().all()
            assert gradient[1].isnan().all()


@pytest.mark.parametrize("variant", ["two-pass-paper", "three-pass-reload", "three-pass-recompute"])
def test_the_papers_own_algorithms(variant: str) -> None:
    x = torch.randn(3, 1000)
    assert_close(softmax(x, kernel=variant), torch.softmax(x, -1), rtol=1e-5, atol=1e-8)
    for refused in (
        lambda: softmax(x.double(), kernel=variant),
        lambda: softmax(x, 0, kernel=variant),
        lambda: softmax(x.mT, kernel=variant),
        lambda: softmax(x, masked_zero=True, kernel=variant),
        lambda: softmax(x, accuracy="high", kernel=variant),
        lambda: softmax(x, deterministic=True, kernel=variant),
    ):
        with pytest.raises(RuntimeError, match=variant):
            refused()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(3,), (4, 7), (2, 5, 3), (2, 1, 600), (3, 40, 2, 5)])
@pytest.mark.parametrize("operation", [softmax, log_softmax])
def test_the_way_that_needs_one_call(operation: Function, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Any axis of a dense tensor, and its gradient, gives what the way through Python gives, bit for bit."""
    code = native.SOFTMAX if operation is softmax else native.LOG_SOFTMAX
    by_python = native.softmax if operation is softmax else native.log_softmax
    x, dy = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    for dim in range(-len(shape), len(shape)):
        assert native.short_rows is not None
        y = native.short_rows(code, x, None, dim)
        assert y is not None
        assert torch.equal(y, by_python(x, dim % len(shape)))
        out = torch.full_like(x, torch.nan)
        assert native.short_rows(code, x, out, dim) is out
        assert torch.equal(out, y)
        assert_close(operation(x.clone().requires_grad_(), dim), y, rtol=0, atol=0)
    assert native.short_rows(code, x, None, len(shape)) is None
    assert native.short_rows(code, x, out.double(), 0) is None
    backward = native.softmax_backward if operation is softmax else native.log_softmax_backward
    dx = native.fast_gradient(code, y, dy)
    assert dx is not None
    assert torch.equal(dx, backward(y, dy, -1))
    assert native.fast_gradient(code, y, dy.double()) is None
    assert native.fast_gradient(code, y, dy.expand(2, *shape)) is None
