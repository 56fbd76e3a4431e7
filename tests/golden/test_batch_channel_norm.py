"""Weight standardisation and batch-channel normalisation against the authors' own layers."""

import pytest
import torch
from torch import Tensor

from normkit import functional, nn, weights
from normkit.functional.batch_channel_norm import BATCH_CHANNEL_NORM
from normkit.functional.weight_standardize import WEIGHT_STANDARDIZE
from tests.golden.conftest import Golden

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
VARIANTS = {"std": "official", "var": "bcn", "timm": "timm"}
STYLES = {"bcn_est": "estimate", "bcn": "batch"}


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kernel", ["reference", *WEIGHT_STANDARDIZE.implementations])
def test_weight_standardization(golden: Golden, name: str, kernel: str, dtype: torch.dtype, tolerance: float) -> None:
    _skip_unless_usable(kernel, dtype)
    weight = golden.tensor("ws.weight", dtype).requires_grad_()
    standardized = functional.weight_standardize(weight, VARIANTS[name], kernel=kernel)
    (gradient,) = torch.autograd.grad(standardized, weight, golden.tensor("ws.gout", dtype))
    _close(standardized, golden.tensor(f"ws.{name}.out"), tolerance)
    _close(gradient, golden.tensor(f"ws.{name}.gweight"), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("build", [weights.WSConv2d, None], ids=["layer", "parametrised"])
def test_standardized_convolution(
    golden: Golden, build: type[torch.nn.Conv2d] | None, dtype: torch.dtype, tolerance: float
) -> None:
    filters, inputs, *kernel = golden["ws.weight"].shape
    conv = (build or torch.nn.Conv2d)(inputs, filters, tuple(kernel), padding=1, dtype=dtype)
    with torch.no_grad():
        conv.weight.copy_(golden.tensor("ws.weight"))
        conv.bias.copy_(golden.tensor("wsconv.bias"))
    conv = conv if build else weights.weight_standardization(conv)
    _close(conv(golden.tensor("wsconv.x", dtype)), golden.tensor("wsconv.y"), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("key", STYLES)
def test_layer(golden: Golden, key: str, dtype: torch.dtype, tolerance: float) -> None:
    channels, groups = golden["bn.weight"].size, int(golden["groups"])
    layer = nn.BatchChannelNorm2d(channels, groups, style=STYLES[key], speed=_speed(golden, key), dtype=dtype)
    with torch.no_grad():
        layer.bn.weight.copy_(golden.tensor("bn.weight"))
        layer.bn.bias.copy_(golden.tensor("bn.bias"))
        layer.weight.copy_(golden.tensor("cn.weight").reshape(1, -1, 1))
        layer.bias.copy_(golden.tensor("cn.bias").reshape(1, -1, 1))
    batches = [batch.requires_grad_() for batch in golden.tensor("x", dtype)]
    outputs, means, variances = [], [], []
    for batch in batches:
        outputs.append(layer(batch))
        means.append(layer.bn.running_mean.clone())
        variances.append(layer.bn.running_var.clone())
    parameters = (layer.bn.weight, layer.bn.bias, layer.weight, layer.bias)
    gradients = torch.autograd.grad(outputs[-1], (batches[-1], *parameters), golden.tensor("gy", dtype))
    _close(torch.stack(outputs), golden.tensor(f"{key}.y_train"), tolerance)
    _close(torch.stack(means), golden.tensor(f"{key}.running_mean"), tolerance)
    _close(torch.stack(variances), golden.tensor(f"{key}.running_var"), tolerance)
    for name, gradient in zip(("gx", "g_bn_weight", "g_bn_bias", "g_cn_weight", "g_cn_bias"), gradients, strict=True):
        wanted = golden.tensor(f"{key}.{name}")
        _close(gradient.reshape(wanted.shape), wanted, tolerance)
    _close(layer.eval()(batches[0]), golden.tensor(f"{key}.y_eval_x0"), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("kernel", ["reference", *BATCH_CHANNEL_NORM.implementations])
@pytest.mark.parametrize("key", STYLES)
def test_function_by_kernel(golden: Golden, key: str, kernel: str, dtype: torch.dtype, tolerance: float) -> None:
    _skip_unless_usable(kernel, dtype)
    groups, x = int(golden["groups"]), golden.tensor("x", dtype)
    mean, variance = torch.zeros(x.shape[2], dtype=dtype), torch.ones(x.shape[2], dtype=dtype)
    affine = golden.tensor("bn.weight", dtype), golden.tensor("bn.bias", dtype), groups
    channel = (golden.tensor(f"cn.{name}", dtype).reshape(1, -1, 1) for name in ("weight", "bias"))
    arguments = (mean, variance, *affine, *channel)
    options = {"style": STYLES[key], "speed": _speed(golden, key) or 0.1, "kernel": kernel}
    for step, batch in enumerate(x):
        y = functional.batch_channel_norm(batch, *arguments, training=True, **options)
        _close(y, golden.tensor(f"{key}.y_train")[step], tolerance)
        _close(mean, golden.tensor(f"{key}.running_mean")[step], tolerance)
        _close(variance, golden.tensor(f"{key}.running_var")[step], tolerance)


def _skip_unless_usable(kernel: str, dtype: torch.dtype) -> None:
    """The native kernels compute in float32."""
    if kernel != "native":
        return
    reason = WEIGHT_STANDARDIZE.implementations[kernel].why_not
    if reason or dtype == torch.float64:
        pytest.skip(reason or "no native kernel computes in float64")


def _speed(golden: Golden, key: str) -> float | None:
    return float(golden["r"]) if key == "bcn_est" else None


def _close(ours: Tensor, wanted: Tensor, tolerance: float) -> None:
    bound = tolerance * max(1.0, wanted.abs().max().item())
    assert (ours.double() - wanted).abs().max().item() <= bound
