"""The channel norms' operators: torch's own checks of schema, fake kernel, derivative and tracing; in a compiler."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from torch import Tensor

from normkit import functional as F
from normkit.kernels import channel_operators, native

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)


def x(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), requires_grad=True)


def moments(rows: int) -> Tensor:
    """Means near 0, and sums of squared deviations that are positive."""
    return torch.cat([torch.zeros(rows), torch.full((rows,), 9.0)]).double()


ARGUMENTS: dict[str, list[tuple[object, ...]]] = {
    "evonorm_s0": [
        (x(2, 4, 3, 3), x(4), x(4), x(4), 2, 1e-5),
        (x(2, 3, 5, 4).permute(0, 3, 1, 2).detach().requires_grad_(), x(4), x(4), x(4), 1, 1e-3),
    ],
    "evonorm_s0_backward": [(x(2, 4, 3, 3), x(2, 4, 3, 3), x(4), x(4), moments(4), 2, 1e-5)],
    "weight_standardize": [(x(4, 3, 2, 2), "official", 1e-5), (x(5, 4).t().detach().requires_grad_(), "timm", 1e-6)],
    "weight_standardize_backward": [(x(4, 3, 2, 2), x(4, 3, 2, 2), moments(4), "bcn", 1e-5)],
}
CASES = [(name, case) for name, cases in ARGUMENTS.items() for case in range(len(cases))]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_opcheck(name: str, case: int) -> None:
    operator = getattr(torch.ops.normkit, name).default
    outcome = torch.library.opcheck(operator, ARGUMENTS[name][case])
    assert set(outcome.values()) == {"SUCCESS"}


@pytest.fixture
def annotations_unchecked() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    torch.compiler.reset()
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("annotations_unchecked")
def test_a_compiler_takes_the_operator_and_its_gradient() -> None:
    nodes: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        nodes.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    parameters = [x(4) for _ in range(3)]
    image = x(2, 4, 5, 5)
    compiled = torch.compile(F.evonorm_s0, fullgraph=True, backend=backend)
    y = compiled(image, *parameters, 2)
    assert any("evonorm_s0" in node for node in nodes)
    wanted = F.evonorm_s0(image, *parameters, 2)
    assert torch.equal(y, wanted)
    direction = torch.randn(y.shape)
    ours, theirs = (torch.autograd.grad(each, [image, *parameters], direction) for each in (y, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("operator", ["evonorm_s0", "weight_standardize"])
def test_second_derivative_is_the_references(operator: str) -> None:
    arguments = ARGUMENTS[operator][0]
    first = arguments[0]
    assert isinstance(first, Tensor)
    direction, along = torch.randn(first.shape), torch.randn(first.shape)

    def second(y: Tensor) -> Tensor:
        (dx,) = torch.autograd.grad(y, first, direction, create_graph=True)
        return torch.autograd.grad((dx * along).sum(), first)[0]

    ours = second(getattr(channel_operators, operator)(*arguments)[0])
    wanted = second(getattr(F, operator)(*arguments, kernel="reference"))
    torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-4)
