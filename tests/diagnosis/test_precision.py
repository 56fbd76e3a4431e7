import pytest
import torch
from torch import nn

from normkit.diagnosis import diagnose
from normkit.diagnosis._framework.patients import HalfLayerNorm


def _sites(model: nn.Module, x: torch.Tensor) -> list:
    return list(diagnose(model, [x], probes="precision")["precision"].sites)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_torchs_norms_cost_what_their_type_costs(norm: type[nn.Module], dtype: torch.dtype) -> None:
    x = (torch.randn(64, 32, generator=torch.Generator().manual_seed(0)) + 5).to(dtype)
    (site,) = _sites(nn.Sequential(norm(32).to(dtype)), x)
    assert site.severity == "ok"
    if dtype != torch.float32:
        assert site.figure == pytest.approx(site.detail["rounding"], rel=0.1)


def test_statistics_in_half_precision_lose_the_signal() -> None:
    x = (torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) + 10).bfloat16()
    (site,) = _sites(nn.Sequential(HalfLayerNorm(64).bfloat16()), x)
    assert site.severity == "act"
    assert site.figure > 0.1


def test_the_figure_is_the_error_against_float64() -> None:
    x = torch.randn(16, 64).bfloat16()
    model = HalfLayerNorm(64).bfloat16().requires_grad_(False)
    (site,) = _sites(nn.Sequential(model), x)
    exact = HalfLayerNorm(64).double().requires_grad_(False)(x.double())
    error = (model(x).double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert site.figure == pytest.approx(float(error), rel=1e-9)


def test_a_lost_eps_is_found_on_zeros() -> None:
    class TinyNorm(HalfLayerNorm):
        pass

    x = torch.randn(16, 64).half()
    (site,) = _sites(nn.Sequential(TinyNorm(64, eps=1e-9).half()), x)
    assert site.detail["eps_lost"]
    assert site.severity in ("watch", "act")
    x[3] = 0
    (site,) = _sites(nn.Sequential(TinyNorm(64, eps=1e-9).half()), x)
    assert site.severity == "act"
    (site,) = _sites(nn.Sequential(nn.LayerNorm(64, eps=1e-9).half()), x)
    assert not site.detail["eps_lost"]


def test_rows_that_softmax_cannot_serve_are_counted() -> None:
    x = torch.randn(4, 8)
    x[0] = -torch.inf
    (site,) = _sites(nn.Sequential(nn.Softmax(-1)), x)
    assert (site.detail["masked_rows"], site.detail["overflowed_rows"]) == (1, 0)
    assert site.severity == "act"
    x[0], x[1, 2] = 0, torch.inf
    (site,) = _sites(nn.Sequential(nn.Softmax(-1)), x)
    assert site.detail["overflowed_rows"] == 1


def test_a_partly_masked_row_is_healthy_and_described() -> None:
    x = torch.zeros(4, 8)
    x[:, 4:] = -torch.inf
    x[:, 0] = 3
    (site,) = _sites(nn.Sequential(nn.Softmax(-1)), x)
    assert site.severity == "ok"
    assert site.detail["masked_share"] == 0.5
    assert site.detail["row_range"] == 3
    assert site.detail["row_length"] == 8


def test_softmax_inside_attention_and_in_the_loss_is_seen() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.attention(x, x, x)[0].mean(1)

    batch = (torch.randn(4, 6, 16), torch.arange(4))
    paths = [site.path for site in diagnose(Net(), [batch], probes="precision")["precision"].sites]
    assert paths == ["attention", "(loss)"]


def test_log_softmax_in_bfloat16_is_judged_by_its_probabilities() -> None:
    model = nn.Sequential(nn.LogSoftmax(-1))
    (small,) = _sites(model, torch.randn(8, 10).bfloat16())
    assert small.severity == "ok"
    (large,) = _sites(model, torch.randn(8, 60_000).bfloat16())
    assert large.severity == "act"


def test_hooks_on_a_norm_are_not_called_by_the_comparison() -> None:
    calls = []
    model = nn.Sequential(nn.LayerNorm(8))
    model[0].register_forward_hook(lambda *_: calls.append(1))
    diagnose(model, [torch.randn(4, 8)], probes="precision")
    assert len(calls) == 1
