"""EvoNorm against an independent reference, by layer, by function and by each of its kernels."""

import pytest
import torch
from torch import Tensor

from normkit import functional, nn
from normkit.functional.evonorm_b0 import EVONORM_B0
from normkit.functional.evonorm_s0 import EVONORM_S0
from normkit.search import Graph
from tests.golden.conftest import Golden

KINDS = ("B0", "B1", "B2", "S0", "S1", "S2")
PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_layer(golden: Golden, kind: str, dtype: torch.dtype, tolerance: float) -> None:
    layer = _layer(golden, kind, dtype)
    batches = [batch.requires_grad_() for batch in golden.tensor("x", dtype)]
    outputs, running = [], []
    for batch in batches:
        outputs.append(layer(batch))
        running += [layer.running_var.clone()] if kind[0] == "B" else []
    names = ["x", *(name for name, _ in layer.named_parameters())]
    wanted = (batches[-1], *layer.parameters())
    gradients = torch.autograd.grad(outputs[-1], wanted, golden.tensor("gy", dtype))
    _close(torch.stack(outputs), golden.tensor(f"{kind}.y_train"), tolerance)
    for name, gradient in zip(names, gradients, strict=True):
        _close(gradient, golden.tensor(f"{kind}.g{name}"), tolerance)
    if running:
        _close(torch.stack(running), golden.tensor(f"{kind}.running_var"), tolerance)
    _close(layer.eval()(batches[0]), golden.tensor(f"{kind}.y_eval_x0"), tolerance)


@pytest.mark.parametrize("kernel", ["reference", *EVONORM_S0.implementations])
def test_s0_by_kernel(golden: Golden, kernel: str) -> None:
    dtype, tolerance = _precision(kernel)
    x, parameters = golden.tensor("x", dtype)[-1].requires_grad_(), _parameters(golden, dtype)
    arguments = (x, *parameters, int(golden["groups"]), float(golden["S0.eps"]))
    if kernel != "reference" and (reason := EVONORM_S0.implementations[kernel].refusal(*arguments)):
        pytest.skip(reason)
    y = functional.evonorm_s0(*arguments, kernel=kernel)
    _close(y, golden.tensor("S0.y_train")[-1], tolerance)
    for name, gradient in zip(
        ("gx", "gweight", "gbias", "gv"),
        torch.autograd.grad(y, (x, *parameters), golden.tensor("gy", dtype)),
        strict=True,
    ):
        _close(gradient, golden.tensor(f"S0.{name}"), tolerance)


@pytest.mark.parametrize("kernel", ["reference", *EVONORM_B0.implementations])
def test_b0_by_kernel(golden: Golden, kernel: str) -> None:
    dtype, tolerance = _precision(kernel)
    parameters, running = _parameters(golden, dtype), torch.ones_like(golden.tensor("weight", dtype))
    options = {"momentum": float(golden["momentum"]), "eps": float(golden["B0.eps"]), "kernel": kernel}
    for step, batch in enumerate(golden.tensor("x", dtype)):
        x = batch.requires_grad_()
        y = functional.evonorm_b0(x, *parameters, running, training=True, **options)
        _close(y, golden.tensor("B0.y_train")[step], tolerance)
        _close(running, golden.tensor("B0.running_var")[step], tolerance)
    for name, gradient in zip(
        ("gx", "gweight", "gbias", "gv"),
        torch.autograd.grad(y, (x, *parameters), golden.tensor("gy", dtype)),
        strict=True,
    ):
        _close(gradient, golden.tensor(f"B0.{name}"), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_graphs(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    for index, nodes in enumerate(golden["graph.nodes"]):
        graph = Graph(nodes)
        assert list(graph.active) == list(golden["graph.active"][index].astype(bool))
        layer = nn.GraphNorm2d(graph, golden["graph.v0"].size, int(golden["graph.groups"]), dtype=dtype)
        with torch.no_grad():
            for name in ("v0", "v1"):
                if getattr(layer, name) is not None:
                    getattr(layer, name).copy_(golden.tensor(f"graph.{name}"))
        x = golden.tensor("graph.x", dtype).requires_grad_()
        y = layer(x)
        _close(y, golden.tensor("graph.y")[index], tolerance)
        (gradient,) = torch.autograd.grad(y, x, golden.tensor("graph.gy", dtype))
        _close(gradient, golden.tensor("graph.gx")[index], tolerance)


def _precision(kernel: str) -> tuple[torch.dtype, float]:
    """In which type a kernel computes, and what is asked of it there."""
    if kernel != "native":
        return torch.float64, 1e-10
    if reason := EVONORM_S0.implementations[kernel].why_not:
        pytest.skip(reason)
    return torch.float32, 1e-5


def _parameters(golden: Golden, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(golden.tensor(name, dtype).requires_grad_() for name in ("weight", "bias", "v"))


def _layer(golden: Golden, kind: str, dtype: torch.dtype) -> torch.nn.Module:
    channels, eps = golden["weight"].size, float(golden[f"{kind}.eps"])
    make = getattr(nn, f"EvoNorm2d{kind}")
    own = {"groups": int(golden["groups"])} if kind[0] == "S" else {"momentum": float(golden["momentum"])}
    layer: torch.nn.Module = make(channels, eps=eps, dtype=dtype, **own)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(golden.tensor(name))
    return layer


def _close(ours: Tensor, wanted: Tensor, tolerance: float) -> None:
    bound = tolerance * max(1.0, wanted.abs().max().item())
    assert (ours.double() - wanted).abs().max().item() <= bound
