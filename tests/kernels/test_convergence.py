"""A small network trains the same way with the native kernels as without them: 20 steps, loss by loss."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from normkit import functional as F
from normkit import kernels
from normkit.models import PlainConvNet, Transformer
from normkit.nn import BatchChannelNorm2d, CRMSNorm, EvoNorm2dB0, EvoNorm2dS0, GroupNorm
from normkit.weights import WSConv2d

STEPS, VOCABULARY = 20, 97

Batch = tuple[Tensor, Tensor]


def language(norm: str | Callable[[int], nn.Module]) -> tuple[nn.Module, list[Batch]]:
    model = Transformer(VOCABULARY, 32, 2, 2, norm=norm, max_length=16)
    ids = torch.randint(VOCABULARY, (STEPS, 8, 17))
    return model, [(window[:, :-1], window[:, 1:].flatten()) for window in ids]


def pictures(norm: Callable[[int], nn.Module], *, standardized: bool = False) -> tuple[nn.Module, list[Batch]]:
    model = PlainConvNet(norm, channels=8, depth=4, pool_after=2)
    if standardized:
        for index in range(5):
            old = model.features.get_submodule(f"conv{index}")
            new = WSConv2d(old.in_channels, 8, 3, padding=1, bias=False)
            setattr(model.features, f"conv{index}", new)
    return model, [(torch.randn(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(STEPS)]


NETWORKS = {
    "layer norm": partial(language, "layer"),
    "RMSNorm": partial(language, "rms"),
    "CRMSNorm": partial(language, CRMSNorm),
    "group norm": partial(pictures, partial(GroupNorm, 2)),
    "EvoNorm-S0": partial(pictures, partial(EvoNorm2dS0, groups=2)),
    "EvoNorm-B0": partial(pictures, EvoNorm2dB0),
    "batch-channel norm": partial(pictures, partial(BatchChannelNorm2d, num_groups=2)),
    "weight standardisation": partial(pictures, nn.BatchNorm2d, standardized=True),
}


def losses(build: Callable[[], tuple[nn.Module, list[Batch]]]) -> list[float]:
    torch.manual_seed(0)
    model, batches = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    found = []
    for x, y in batches:
        loss = F.cross_entropy(model(x).flatten(0, -2), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_curve_is_the_same_with_and_without_native_kernels(name: str) -> None:
    if not any(row["kernel"] == "native" and row["usable"] for row in kernels.available()):
        pytest.skip("there is no native part in this installation")
    ours = losses(NETWORKS[name])
    with kernels.disabled("native"):
        torchs = losses(NETWORKS[name])
    assert max(abs(a - b) for a, b in zip(ours, torchs, strict=True)) <= 1e-4
    assert ours[-1] != ours[0]
