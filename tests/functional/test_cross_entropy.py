"""Cross-entropy as its users call it: against torch in float64, at any size, order, dtype and number of threads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe, get_all_start_methods, get_context
from multiprocessing.connection import Connection

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from normkit import kernels
from normkit.functional.cross_entropy import CROSS_ENTROPY, cross_entropy
from normkit.kernels import native

torchs = torch.nn.functional.cross_entropy
WIDTHS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 127, 129, 511, 512, 513, 1025, 4097, 50257)
INF = float("inf")

needs_native = pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)


@pytest.fixture(params=["avx512", "avx2", "neon", "portable"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    if not native.AVAILABLE:
        pytest.skip(native.WHY_NOT)
    from normkit import _native

    if request.param not in [each["name"] for each in _native.available() if each["supported"]]:
        pytest.skip(f"this processor has no {request.param}")
    before = _native.isa()
    _native.use_isa(request.param)
    yield request.param
    _native.use_isa(before)


def case(rows: int, classes: int, seed: int = 0, scale: float = 4.0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, classes, generator=draw), torch.randint(classes, (rows,), generator=draw)


def loss_and_gradient(function: object, x: Tensor, *args: object, **options: object) -> tuple[Tensor, Tensor]:
    leaf = x.detach().clone().requires_grad_()
    loss = function(leaf, *args, **options)  # type: ignore[operator]
    upstream = torch.linspace(1, 2, loss.numel(), dtype=loss.dtype).view(loss.shape)
    return loss.detach(), torch.autograd.grad(loss, leaf, upstream)[0]


def assert_as_exact(x: Tensor, target: Tensor, **options: object) -> None:
    """Loss and gradient, by the kernel and by what the public call takes, against torch in float64."""
    weight = options.pop("weight", None)
    wide = None if weight is None else weight.double()  # type: ignore[attr-defined]
    wanted, exact = loss_and_gradient(torchs, x.double(), target, wide, **options)
    size = max(1.0, float(x.abs().max()), float(wanted.abs().max()))
    for kernel in ("native", None):
        loss, dx = loss_and_gradient(cross_entropy, x, target, weight, kernel=kernel, **options)
        assert_close(loss.double(), wanted, rtol=0, atol=1e-6 * size)
        assert_close(dx.double(), exact, rtol=0, atol=1e-6 * max(1.0, float(exact.abs().max())))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_every_width(isa: str, width: int, reduction: str) -> None:
    assert_as_exact(*case(11, width), reduction=reduction)
    assert_as_exact(*case(3, width, scale=30.0), reduction=reduction)


@pytest.mark.parametrize("width", [3, 40, 700])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_every_option(isa: str, width: int, reduction: str, smoothing: float, weighted: bool) -> None:
    x, target = case(19, width)
    target[[3, 8]] = 2
    weight = torch.rand(width) if weighted else None
    assert_as_exact(x, target, weight=weight, ignore_index=2, reduction=reduction, label_smoothing=smoothing)


@needs_native
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    reduction=st.sampled_from(["none", "mean", "sum"]),
    smoothing=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=80, deadline=None)
def test_any_shape_order_and_dtype(
    shape: list[int], order: object, dtype: torch.dtype, reduction: str, smoothing: float
) -> None:
    axes = list(range(len(shape)))
    order.shuffle(axes)  # type: ignore[attr-defined]
    x = torch.randn(shape).permute(axes).to(dtype)
    classes = x.shape[1] if x.ndim > 1 else x.shape[0]
    target = torch.randint(classes, x.shape[:1] + x.shape[2:] if x.ndim > 1 else ())
    options = {"reduction": reduction, "label_smoothing": smoothing}
    ours, dx = loss_and_gradient(cross_entropy, x, target, **options)
    wanted, exact = loss_and_gradient(torchs, x.double(), target, **options)
    assert (ours.dtype, ours.shape, dx.shape) == (dtype, wanted.shape, x.shape)
    tolerance = 4 * max(torch.finfo(dtype).eps, 1e-6)
    assert_close(ours.double(), wanted, rtol=tolerance, atol=tolerance)
    assert_close(dx.double(), exact, rtol=tolerance, atol=tolerance)


@needs_native
@pytest.mark.parametrize("transposed", [(2, 5, 600), (2, 3, 4, 40)])
def test_classes_that_are_neighbours_are_not_copied(transposed: tuple[int, ...]) -> None:
    """What a language model gives: (batch, position, class) seen as (batch, class, position)."""
    x = torch.randn(transposed).movedim(-1, 1)
    target = torch.randint(transposed[-1], transposed[:-1])
    assert CROSS_ENTROPY.implementations["native"].refusal(x, target) is None
    assert_as_exact(x, target)
    assert_as_exact(x, target, reduction="none")
    _, dx = loss_and_gradient(cross_entropy, x, target, kernel="native")
    assert dx.movedim(1, -1).is_contiguous()


@needs_native
def test_rows_with_gaps() -> None:
    x, target = case(6, 90)
    memory = torch.full((6, 100), torch.nan)
    memory[:, :90] = x
    view = memory[:, :90]
    for ours, wanted in zip(
        loss_and_gradient(cross_entropy, view, target), loss_and_gradient(torchs, x, target), strict=True
    ):
        assert_close(ours, wanted)


@pytest.mark.parametrize("width", [5, 33, 700])
def test_difficult_rows(isa: str, width: int) -> None:
    """Infinities, NaN and huge values come out as torch's do; smoothed or not."""
    rows = torch.randn(9, width)
    rows[0, 1], rows[1, 1], rows[2, 1] = torch.nan, INF, -INF
    rows[3], rows[4], rows[5] = -INF, rows[4] * 1e30, rows[5] + 1e7
    rows[6, 2:], rows[7, 0] = -INF, 1e6
    rows[8] *= 1e-40
    target = torch.tensor([0, 0, 0, 0, 1, 1, 1, 0, 3])
    for smoothing in (0.0, 0.1):
        options = {"reduction": "none", "label_smoothing": smoothing}
        loss, dx = loss_and_gradient(cross_entropy, rows, target, kernel="native", **options)
        wanted, exact = loss_and_gradient(torchs, rows.double(), target, **options)
        assert_close(loss.double(), wanted, rtol=1e-6, atol=1e-6, equal_nan=True)
        assert_close(dx.double(), exact, rtol=1e-6, atol=1e-6, equal_nan=True)


@needs_native
def test_all_rows_ignored() -> None:
    x, target = case(3, 5)[0].requires_grad_(), torch.full((3,), -100)
    assert cross_entropy(x, target).isnan()
    loss = cross_entropy(x, target, reduction="sum")
    assert loss == 0
    assert (torch.autograd.grad(loss, x)[0] == 0).all()


@pytest.mark.parametrize("kernel", [None, "native", "torch", "reference"])
@pytest.mark.parametrize("bad", [-1, 5, 2**40, -(2**40)])
def test_a_target_that_is_no_class(kernel: str | None, bad: int) -> None:
    if kernel == "native" and not native.AVAILABLE:
        pytest.skip(native.WHY_NOT)
    x, target = case(40, 5)
    target[17] = bad
    with pytest.raises(IndexError, match=f"Target {bad} is out of bounds"):
        cross_entropy(x, target, kernel=kernel)


@needs_native
def test_threads_do_not_change_the_result() -> None:
    x, target = case(501, 997)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        results.append(loss_and_gradient(cross_entropy, x, target, kernel="native"))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@needs_native
def test_a_gradient_too_large_for_the_cache() -> None:
    """Streamed past the cache: every element is there, the target's among them."""
    from normkit import _native

    before = _native.thresholds()["cache_bytes"]
    _native.set_threshold("cache_bytes", 16)
    for width in (5, 64, 513, 1000):
        assert_as_exact(*case(7, width))
    _native.set_threshold("cache_bytes", before)


@needs_native
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_second_derivative(reduction: str, smoothing: float) -> None:
    x, target = case(4, 9)
    target[1] = 2

    def second(function: object, x: Tensor, weight: Tensor) -> Tensor:
        leaf = x.clone().requires_grad_()
        loss = function(leaf, target, weight, None, 2, None, reduction, smoothing)  # type: ignore[operator]
        (dx,) = torch.autograd.grad(loss.sum(), leaf, create_graph=True)
        return torch.autograd.grad(dx.square().sum(), leaf)[0]

    weight = torch.rand(9)
    assert_close(
        second(cross_entropy, x, weight).double(), second(torchs, x.double(), weight.double()), rtol=1e-5, atol=1e-5
    )


@needs_native
@pytest.mark.parametrize("width", [9, 700])
def test_a_gradient_asked_for_twice_or_scaled(width: int) -> None:
    """The first is computed with the loss and given away; it is not what the second sees changed."""
    x, target = case(4, width)
    (wanted,) = torch.autograd.grad(torchs(x.requires_grad_(), target), x)
    loss = cross_entropy(x, target)
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    first.zero_()
    (second,) = torch.autograd.grad(3 * loss, x, retain_graph=True)
    assert_close(second, 3 * wanted, rtol=1e-4, atol=1e-6)
    assert_close(torch.autograd.grad(0.5 * cross_entropy(x, target), x)[0], 0.5 * wanted, rtol=1e-4, atol=1e-6)


@needs_native
@pytest.mark.parametrize("width", [40, 700])
def test_rows_that_rise(width: int) -> None:
    """The exponentials' reference moves along the row."""
    rows = torch.linspace(0, 300, width).repeat(3, 1)
    assert_as_exact(rows, torch.tensor([0, width // 2, width - 1]))


@needs_native
def test_batched_gradients() -> None:
    x, target = case(4, 9)
    leaf = x.requires_grad_()
    upstream = torch.randn(5, 4)
    ours, wanted = (
        torch.autograd.grad(f(leaf, target, reduction="none"), leaf, upstream, is_grads_batched=True)[0]
        for f in (cross_entropy, torchs)
    )
    assert_close(ours, wanted)


def test_gradient_of_class_weights() -> None:
    """torch has none; ours is that of the equation."""
    x, target = case(4, 3)
    weight = torch.rand(3, dtype=torch.float64, requires_grad=True)

    def loss(weight: Tensor) -> Tensor:
        return cross_entropy(x.double(), target, weight, label_smoothing=0.1)

    assert torch.autograd.gradcheck(loss, weight)


@needs_native
def test_the_loss_may_be_changed_in_place() -> None:
    x, target = case(4, 9)
    x.requires_grad_()
    for reduction in ("none", "mean"):
        loss = cross_entropy(x, target, reduction=reduction)
        loss.mul_(2)
        wanted = torch.autograd.grad(2 * torchs(x, target, reduction=reduction).sum(), x)
        assert_close(torch.autograd.grad(loss.sum(), x), wanted)


@needs_native
def test_small_calls_that_take_the_long_way_are_left_to_torch() -> None:
    """Weights, reduction "none" and half types go through Python, which costs more than either kernel on few rows."""
    native_kernel = CROSS_ENTROPY.implementations["native"]
    for rows, left in ((16, True), (64, False)):
        x, target = case(rows, 1000)
        assert native_kernel.prefers is not None
        assert bool(native_kernel.prefers("cross_entropy", x, target)) is left
        for options in ({"weight": torch.rand(1000)}, {"reduction": "none"}):
            wanted = torchs(x, target, **options) if left else cross_entropy(x, target, kernel="native", **options)
            assert torch.equal(cross_entropy(x, target, **options), wanted)


@needs_native
def test_many_python_threads_at_once() -> None:
    """Each finds its own result: nothing is shared between calls."""
    cases = [case(64, 600 + seed, seed) for seed in range(16)]
    wanted = [loss_and_gradient(cross_entropy, *each) for each in cases]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = pool.map(lambda each: loss_and_gradient(cross_entropy, *each), cases)
            assert all(
                torch.equal(a, b)
                for one, other in zip(found, wanted, strict=True)
                for a, b in zip(one, other, strict=True)
            )


def child(x: Tensor, target: Tensor, sent: Connection) -> None:
    sent.send(cross_entropy(x, target).item())


@needs_native
@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_a_forked_process() -> None:
    """After threads have run here: they do not survive a fork, and waiting for them would never end."""
    x, target = case(64, 1000)
    wanted = cross_entropy(x, target).item()
    received, sent = Pipe(duplex=False)
    process = get_context("fork").Process(target=child, args=(x, target, sent))
    process.start()
    assert received.poll(30)
    assert received.recv() == wanted
    process.join(30)
    assert process.exitcode == 0


def test_what_must_be_raised() -> None:
    x, target = case(4, 5)
    with pytest.raises(ValueError, match="reduction is 'none', 'mean' or 'sum', not 'max'"):
        cross_entropy(x, target, reduction="max")
    with pytest.raises(ValueError, match=r"label_smoothing must be between 0 and 1, got 1\.5"):
        cross_entropy(x, target, label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"target must have the shape \(4,\).*got \(3,\)"):
        cross_entropy(x, target[:3])
    with pytest.raises(ValueError, match=r"weight must have the shape \(5,\), got \(4,\)"):
        cross_entropy(x, target, torch.ones(4))
    with pytest.raises(TypeError, match=r"target must be class indices .* got torch\.int32"):
        cross_entropy(x, target.int())
    with pytest.raises(ValueError, match="must have an axis of classes"):
        cross_entropy(x[0, 0], target[0])
    with pytest.raises(kernels.KernelError, match="traced or transformed"):
        torch.vmap(lambda row: cross_entropy(row, target[0], kernel="native"))(x)
