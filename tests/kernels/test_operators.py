"""The registered operators: torch's own checks of schema, fake kernel, derivative, tracing; and the memory's order."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from normkit.kernels import derivatives, native, operators
from tests.kernels.test_channel_operators import ARGUMENTS as OF_CHANNEL_NORMS

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)


def x(*shape: int) -> Tensor:
    return torch.randn(shape, requires_grad=True)


def counter(number: int) -> Tensor:
    return torch.tensor(number)


def window(rows: int) -> Tensor:
    return torch.rand(rows, 4) + 0.5


# What keeps a state's old value for compiled code: of buffers, without gradient.
OF_STATES: dict[str, list[tuple[object, ...]]] = {
    "held": [(window(3)[0],), (window(2),)],
    "unified_norm_advance": [
        (window(1)[0], window(1)[0], window(3), counter(9), counter(0), 0.9, 4, filtration, 1e-5)
        for filtration in (False, True)
    ],
    "unified_norm_gradient": [
        (window(1)[0], counter(number), torch.tensor(False), window(1)[0], window(3), 0.9, 4) for number in (2, 9)
    ],
}

ARGUMENTS: dict[str, list[tuple[object, ...]]] = {
    "softmax": [(x(3, 5), 1, "default", False, False, ""), (x(2, 4, 3), 1, "high", True, True, "")],
    "log_softmax": [(x(3, 5), 1, "default", False, False), (x(2, 4, 3), 0, "high", True, True)],
    "logsumexp": [(x(3, 5), 1), (x(2, 4, 3), 1)],
    "softmax_backward": [(x(3, 5), x(3, 5), 1), (x(2, 4, 3), x(2, 4, 3), 1)],
    "log_softmax_backward": [(x(3, 5), x(3, 5), 1, False), (x(2, 4, 3), x(2, 4, 3), 1, True)],
    "logsumexp_backward": [(x(3, 5), x(3), x(3), 1), (x(2, 4, 3), x(2, 3), x(2, 3), 1)],
    **OF_STATES,
}


def registered() -> set[str]:
    names = (name.partition("::")[2] for name in torch._C._dispatch_get_all_op_names() if name.startswith("normkit::"))
    return {name.partition(".")[0] for name in names}


def test_every_registered_operator_is_checked() -> None:
    assert registered() == set(ARGUMENTS) | set(OF_CHANNEL_NORMS)


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
@pytest.mark.parametrize("case", [0, 1])
def test_opcheck(name: str, case: int) -> None:
    operator = getattr(torch.ops.normkit, name).default
    outcome = torch.library.opcheck(operator, ARGUMENTS[name][case])
    assert set(outcome.values()) == {"SUCCESS"}


@pytest.mark.parametrize("operator", [operators.softmax, operators.log_softmax], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "order",
    [
        lambda tensor: tensor.transpose(0, 2),
        lambda tensor: tensor[:, :, :3],
        lambda tensor: tensor[:, ::2],
        lambda tensor: tensor.permute(2, 0, 1)[1:],
    ],
    ids=["transposed", "gaps", "steps", "permuted"],
)
def test_result_lies_in_memory_as_the_fake_kernel_promises(
    operator: Callable[..., Tensor], axis: int, order: Callable[[Tensor], Tensor]
) -> None:
    tensor = order(torch.randn(4, 5, 6))
    more = ("default", False, False, "")[: len(operator._schema.arguments) - 2]
    real, promised = operator(tensor, axis, *more), operator(tensor.to("meta"), axis, *more)
    assert (real.shape, real.stride()) == (promised.shape, promised.stride())


@pytest.mark.parametrize("name", ["softmax_backward", "log_softmax_backward", "logsumexp_backward"])
def test_backward_operators_compute_their_formula(name: str) -> None:
    for arguments in ARGUMENTS[name]:
        logits = torch.randn_like(arguments[0])
        axis = next(value for value in arguments if isinstance(value, int))
        first = {"softmax_backward": logits.softmax(axis), "log_softmax_backward": logits.log_softmax(axis)}
        tensors = (
            (logits, logits.logsumexp(axis), torch.randn_like(arguments[2]))
            if name == "logsumexp_backward"
            else (first[name], torch.randn_like(logits))
        )
        rest = arguments[len(tensors) :]
        ours = getattr(torch.ops.normkit, name)(*tensors, *rest)
        torch.testing.assert_close(ours, getattr(derivatives, name)(*tensors, *rest), rtol=1e-5, atol=1e-6)
