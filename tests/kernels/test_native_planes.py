"""The native channel norms against the references in float64, under every instruction set that this machine has."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from normkit import functional as F
from normkit.kernels import channel_norms, native
from normkit.kernels.dispatch import KernelError, operations

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)

if native.AVAILABLE:
    from normkit import _native

    ISAS = [isa["name"] for isa in _native.available() if isa["supported"]]
else:
    ISAS = []

INF, NAN = float("inf"), float("nan")
# (batch, channels, groups, space): odd planes, vectors and their ends, one channel a group, one pixel, one group.
SHAPES = [
    (2, 6, 3, (5, 7)),
    (3, 4, 4, (4, 4)),
    (2, 8, 2, (1,)),
    (1, 4, 1, (3, 11)),
    (2, 4, 2, (513,)),
    (1, 2, 1, (65, 67)),
    (5, 32, 8, (7, 7)),
    (2, 3, 3, (129, 33)),
]
HALF = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}

Arguments = dict[str, Any]


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.isa()
    _native.use_isa(request.param)
    yield request.param
    _native.use_isa(before)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def streamed() -> Iterator[None]:
    """Every result counts as larger than the cache."""
    before = _native.thresholds()["cache_bytes"]
    _native.set_threshold("cache_bytes", 16)
    yield
    _native.set_threshold("cache_bytes", before)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def group_norm(x: Tensor, groups: int) -> Arguments:
    channels = x.shape[1]
    return {"input": x, "num_groups": groups, "weight": normal(channels, seed=1), "bias": normal(channels, seed=2)}


def evonorm_s0(x: Tensor, groups: int) -> Arguments:
    weight, bias, v = (normal(x.shape[1], seed=seed) for seed in (1, 2, 3))
    return {"input": x, "weight": weight, "bias": bias, "v": v, "groups": groups}


def evonorm_b0(x: Tensor, groups: int, training: bool = True) -> Arguments:
    weight, bias, v, running_var = (normal(x.shape[1], seed=seed) for seed in (1, 2, 3, 4))
    return {
        "input": x,
        "weight": weight,
        "bias": bias,
        "v": v,
        "running_var": running_var.exp(),
        "training": training,
    }


def batch_channel_norm(x: Tensor, groups: int, training: bool = True, style: str = "batch") -> Arguments:
    running_mean, running_var, bn_weight, bn_bias = (normal(x.shape[1], seed=seed) for seed in (1, 2, 3, 4))
    return {
        "input": x,
        "running_mean": running_mean,
        "running_var": running_var.exp(),
        "bn_weight": bn_weight,
        "bn_bias": bn_bias,
        "num_groups": groups,
        "weight": normal(1, groups, 1, seed=5),
        "bias": normal(1, groups, 1, seed=6),
        "training": training,
        "style": style,
    }


def weight_standardize(x: Tensor, groups: int, variant: str = "official") -> Arguments:
    return {"weight": x.flatten(0, 1), "variant": variant}


CASES: dict[str, Callable[[Tensor, int], Arguments]] = {
    "group_norm": group_norm,
    "evonorm_s0": evonorm_s0,
    "evonorm_b0": evonorm_b0,
    "evonorm_b0 eval": lambda x, groups: evonorm_b0(x, groups, training=False),
    "batch_channel_norm": batch_channel_norm,
    "batch_channel_norm estimate": lambda x, groups: batch_channel_norm(x, groups, style="estimate"),
    "batch_channel_norm eval": lambda x, groups: batch_channel_norm(x, groups, training=False),
    "weight_standardize": weight_standardize,
    "weight_standardize bcn": lambda x, groups: weight_standardize(x, groups, "bcn"),
    "weight_standardize timm": lambda x, groups: weight_standardize(x, groups, "timm"),
}
every_case = pytest.mark.parametrize("case", CASES)


def drawn(case: str, shape: tuple[int, int, int, tuple[int, ...]]) -> Arguments:
    batch, channels, groups, space = shape
    return CASES[case](normal(batch, channels, *space), groups)


def fits(case: str, shape: tuple[int, int, int, tuple[int, ...]]) -> bool:
    """A filter of one entry is refused. A plane of one pixel has a variance of 0, whose root has no slope."""
    return shape[3] != (1,) or not case.startswith("weight_standardize")


def run(case: str, arguments: Arguments, kernel: str, dtype: torch.dtype, gradient: Tensor) -> dict[str, Tensor]:
    """The result, the gradients and the running statistics after the call."""
    own = {name: v.to(dtype, copy=True) if isinstance(v, Tensor) else v for name, v in arguments.items()}
    buffers = {name: value for name, value in own.items() if name.startswith("running")}
    for name in buffers:  # statistics in float32 or wider, as the layers keep them
        buffers[name] = own[name] = own[name].to(torch.promote_types(dtype, torch.float32))
    tensors = {name: value for name, value in own.items() if isinstance(value, Tensor) and name not in buffers}
    for tensor in tensors.values():
        tensor.requires_grad_()
    y = getattr(F, case.split()[0])(**own, kernel=kernel)
    gradients = torch.autograd.grad(y, list(tensors.values()), gradient.to(dtype))
    return {"y": y.detach(), **dict(zip(tensors, gradients, strict=True)), **buffers}


def upstream(arguments: Arguments) -> Tensor:
    return normal(*next(iter(arguments.values())).shape, seed=9)


def worst(ours: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Largest error relative to the largest entry (or 1) of each tensor."""
    errors = {
        name: ((ours[name].double() - value).abs().max() / value.abs().max().clamp_min(1)).item()
        for name, value in wanted.items()
    }
    return max(errors.values())


@every_case
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32_against_float64(case: str, shape: Any, isa: str) -> None:
    if not fits(case, shape):
        return
    arguments = drawn(case, shape)
    gradient = upstream(arguments)
    rounded = {name: v.float().double() if isinstance(v, Tensor) else v for name, v in arguments.items()}
    wanted = run(case, rounded, "reference", torch.float64, gradient.float().double())
    # A channel of two values is normalised to ±1, whatever they are: its gradient is a difference of equals.
    bound = 2e-4 if shape[3] == (1,) else 2e-6
    assert worst(run(case, rounded, "native", torch.float32, gradient), wanted) <= bound


@every_case
@pytest.mark.parametrize("dtype", HALF)
def test_half_types_are_computed_in_float32(case: str, dtype: torch.dtype, isa: str) -> None:
    """Only the result is rounded: it is half a unit from that of the rounded inputs in float64."""
    arguments = drawn(case, (3, 8, 2, (5, 9)))
    gradient = upstream(arguments)
    rounded = {name: v.to(dtype).double() if isinstance(v, Tensor) else v for name, v in arguments.items()}
    for name in [name for name in rounded if name.startswith("running")]:
        rounded[name] = arguments[name].to(dtype).double()
    wanted = run(case, rounded, "reference", torch.float64, gradient.to(dtype).double())
    ours = run(case, rounded, "native", dtype, gradient)
    assert ours["y"].dtype == dtype
    assert worst(ours, wanted) <= 1.01 * HALF[dtype]


@every_case
@pytest.mark.usefixtures("threads")
def test_thread_counts_change_nothing(case: str, isa: str) -> None:
    arguments = drawn(case, (8, 12, 6, (31, 33)))
    gradient = upstream(arguments)
    torch.set_num_threads(1)
    alone = run(case, arguments, "native", torch.float32, gradient)
    for count in (2, 3, 8):
        torch.set_num_threads(count)
        shared = run(case, arguments, "native", torch.float32, gradient)
        assert all(torch.equal(shared[name], value) for name, value in alone.items()), count


@every_case
@pytest.mark.usefixtures("threads")
def test_fewer_groups_than_threads(case: str, isa: str) -> None:
    arguments = drawn(case, (2, 4, 1, (97, 91)))
    gradient = upstream(arguments)
    torch.set_num_threads(1)
    alone = run(case, arguments, "native", torch.float32, gradient)
    torch.set_num_threads(8)
    shared = run(case, arguments, "native", torch.float32, gradient)
    assert all(torch.equal(shared[name], value) for name, value in alone.items())


@every_case
@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_streamed_results_are_the_same(case: str, dtype: torch.dtype, isa: str) -> None:
    arguments = drawn(case, (2, 6, 3, (17, 39)))
    gradient = upstream(arguments)
    streamed = run(case, arguments, "native", dtype, gradient)
    _native.set_threshold("cache_bytes", 1 << 40)
    stored = run(case, arguments, "native", dtype, gradient)
    assert all(torch.equal(streamed[name], value) for name, value in stored.items())


@every_case
def test_data_far_from_zero(case: str, isa: str) -> None:
    """Mean 1e4, deviation 1e-2: all that is left of x is in its last digits, of which float32 has enough."""
    batch, channels, groups, space = 3, 6, 3, (19, 23)
    x = (1e4 + 1e-2 * normal(batch, channels, *space)).float().double()
    arguments = CASES[case](x, groups)
    if case.startswith("evonorm"):
        # x itself, uncentred, is the numerator there.
        arguments["v"] = arguments["v"] * 1e-4
    if case == "batch_channel_norm estimate" or case == "batch_channel_norm eval":
        arguments["running_mean"] = arguments["running_mean"] + 1e4
        arguments["running_var"] = arguments["running_var"] * 1e-4
    rounded = {name: v.float().double() if isinstance(v, Tensor) else v for name, v in arguments.items()}
    gradient = upstream(arguments).float()
    ours = run(case, rounded, "native", torch.float32, gradient)
    if case == "batch_channel_norm estimate":
        # The estimate of the mean is kept in float32, whose unit there is a tenth of the deviation: what is asked of
        # the result is that it is normalised by the estimates as they are kept.
        rounded |= {name: ours[name].double() for name in ours if name.startswith("running")} | {"training": False}
    wanted = run(case, rounded, "reference", torch.float64, gradient.double())
    assert worst({"y": ours["y"]}, {"y": wanted["y"]}) <= 2e-6
    assert worst(ours, wanted) <= 2e-4


@every_case
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_what_is_not_finite_spreads_as_in_the_reference(case: str, value: float, isa: str) -> None:
    arguments = drawn(case, (2, 4, 2, (9, 5)))
    first = next(iter(arguments.values()))
    first.view(-1)[3] = value
    gradient = upstream(arguments)
    wanted = run(case, arguments, "reference", torch.float64, gradient)
    ours = run(case, arguments, "native", torch.float32, gradient)
    for name in ("y", *[name for name in wanted if name.startswith("running")]):
        assert torch.equal(ours[name].isnan(), wanted[name].isnan()), name


@every_case
def test_result_in_place_and_in_memory_of_its_own(case: str, isa: str) -> None:
    arguments = {name: v.float() if isinstance(v, Tensor) else v for name, v in drawn(case, SHAPES[0]).items()}
    function, (first, x) = getattr(F, case.split()[0]), next(iter(arguments.items()))

    def fresh() -> Arguments:
        return {name: v.clone() if isinstance(v, Tensor) else v for name, v in arguments.items()}

    wanted = function(**fresh(), kernel="native")
    memory = torch.full((x.numel() + 2,), NAN)
    out = memory[1:-1].view(x.shape)
    assert function(**fresh(), kernel="native", out=out) is out
    assert torch.equal(out, wanted)
    assert memory[[0, -1]].isnan().all()
    scattered = torch.full((*x.shape, 2), NAN)[..., 0]
    assert torch.equal(function(**fresh(), kernel="native", out=scattered), wanted)
    own = fresh()
    assert torch.equal(function(**own, kernel="native", out=own[first]), wanted)


@every_case
def test_overwritten_memory_is_seen_by_autograd(case: str) -> None:
    arguments = {name: v.float() if isinstance(v, Tensor) else v for name, v in drawn(case, SHAPES[0]).items()}
    out = torch.empty_like(next(iter(arguments.values())))
    versions = {name: v._version for name, v in arguments.items() if name.startswith("running")}
    getattr(F, case.split()[0])(**arguments, kernel="native", out=out)
    assert out._version == 1
    for name, before in versions.items():
        assert arguments[name]._version == before + (1 if arguments["training"] else 0)


@every_case
def test_second_derivative_is_the_references(case: str) -> None:
    arguments = drawn(case, (2, 4, 2, (3, 5)))
    gradient = upstream(arguments)

    def second(kernel: str, dtype: torch.dtype) -> Tensor:
        own = {name: v.to(dtype, copy=True) if isinstance(v, Tensor) else v for name, v in arguments.items()}
        x = next(iter(own.values())).requires_grad_()
        y = getattr(F, case.split()[0])(**own, kernel=kernel)
        (dx,) = torch.autograd.grad(y, x, gradient.to(dtype), create_graph=True)
        return torch.autograd.grad((dx * normal(*dx.shape, seed=7).to(dtype)).sum(), x)[0]

    wanted = second("reference", torch.float64)
    assert worst({"x": second("native", torch.float32)}, {"x": wanted}) <= 1e-4


@every_case
def test_gradients_of_many_directions_at_once(case: str) -> None:
    arguments = {name: v.float() if isinstance(v, Tensor) else v for name, v in drawn(case, (2, 4, 2, (3, 3))).items()}
    x = next(iter(arguments.values())).requires_grad_()
    y = getattr(F, case.split()[0])(**arguments, kernel="native")
    directions = torch.stack([torch.ones_like(y), upstream(arguments).float()])
    (together,) = torch.autograd.grad(y, x, directions, is_grads_batched=True, retain_graph=True)
    for direction, found in zip(directions, together, strict=True):
        torch.testing.assert_close(found, torch.autograd.grad(y, x, direction, retain_graph=True)[0])


@pytest.mark.parametrize("name", ["group_norm", "evonorm_s0", "evonorm_b0", "batch_channel_norm"])
def test_strides_do_not_matter(name: str) -> None:
    arguments = {key: v.float() if isinstance(v, Tensor) else v for key, v in drawn(name, (2, 4, 2, (6, 5))).items()}
    x = arguments["input"]
    wanted = getattr(F, name)(**arguments, kernel="native")
    for other in (x.contiguous(memory_format=torch.channels_last), x.repeat(1, 1, 1, 2)[..., :5]):
        assert not other.is_contiguous()
        torch.testing.assert_close(getattr(F, name)(**{**arguments, "input": other}, kernel="native"), wanted)


def test_channels_stay_last() -> None:
    arguments = drawn("evonorm_s0", (2, 4, 2, (6, 5)))
    arguments = {key: v.float() if isinstance(v, Tensor) else v for key, v in arguments.items()}
    x = arguments["input"].contiguous(memory_format=torch.channels_last).requires_grad_()
    y = F.evonorm_s0(**{**arguments, "input": x}, kernel="native")
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in (y, dx))


@pytest.mark.parametrize(
    ("case", "shape", "reason"),
    [
        ("group_norm", (2, 4, 2, (8, 8)), None),
        ("group_norm", (32, 64, 32, (28, 28)), None),
        ("group_norm", (64, 256, 32, (3, 3)), "planes of up to 9"),
        ("batch_channel_norm", (2, 4, 2, (2, 2)), None),
        ("batch_channel_norm", (64, 512, 2, (1, 1)), "planes of less than 16"),
        ("evonorm_b0", (64, 512, 2, (1, 1)), "planes of less than 4"),
        ("evonorm_s0", (64, 512, 2, (2, 1)), None),
        ("weight_standardize", (2, 4, 2, (8, 8)), None),
        ("weight_standardize timm", (2, 4, 2, (3, 3)), "filters of up to 9"),
    ],
)
def test_what_torch_is_left(case: str, shape: Any, reason: str | None) -> None:
    """Only where nobody names a kernel; the reason is a sentence for people."""
    arguments = drawn(case, shape)
    said = channel_norms.prefers(case.split()[0], *arguments.values())
    assert (said is None) if reason is None else (said is not None and reason in said)


def test_a_gradient_is_left_to_torch_for_longer() -> None:
    x = torch.randn(16, 64, 28, 28)
    assert channel_norms.prefers("group_norm", x, 32) is None
    assert "4194304" in str(channel_norms.prefers("group_norm", x[:15].requires_grad_(), 32))
    assert "channels-last" in str(
        channel_norms.prefers("group_norm", x.contiguous(memory_format=torch.channels_last), 32)
    )


def test_ties_of_the_two_denominators_share_the_gradient() -> None:
    """One sample and v = 0: the instance is the batch, and torch gives each side of the maximum one half."""
    x, zero = normal(1, 3, 4, 4), torch.zeros(3, dtype=torch.float64)
    arguments = {**evonorm_b0(x, 1), "v": zero}
    gradient = upstream(arguments)
    wanted = run("evonorm_b0", arguments, "reference", torch.float64, gradient)
    ours = run("evonorm_b0", arguments, "native", torch.float32, gradient)
    del wanted["v"], ours["v"]  # in float64 the two variances tie only up to rounding
    assert worst({"x": ours["input"]}, {"x": wanted["input"]}) <= 2e-6


def test_refusals_say_why() -> None:
    x = torch.randn(2, 4, 3, 3)
    with pytest.raises(KernelError, match="float64"):
        F.group_norm(x.double(), 2, kernel="native")
    with pytest.raises(KernelError, match="no elements"):
        F.group_norm(x[:0], 2, kernel="native")
    ones = torch.ones(4)
    with pytest.raises(KernelError, match="without v"):
        F.evonorm_s0(x, ones, ones, None, 2, kernel="native")
    with pytest.raises(KernelError, match="running statistics must be contiguous float32"):
        F.evonorm_b0(x, ones, ones, ones, ones.double(), True, kernel="native")
    with pytest.raises(KernelError, match="traced or transformed"):
        torch.vmap(lambda each: F.group_norm(each, 2, kernel="native"))(x[None])


def test_every_channel_norm_has_a_native_kernel() -> None:
    named = {case.split()[0] for case in CASES}
    assert all("native" in operations()[name].implementations for name in named)
