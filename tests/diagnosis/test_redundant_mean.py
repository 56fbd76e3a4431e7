from typing import Any

import pytest
import torch
from torch import nn

from normkit.diagnosis import Finding, diagnose
from normkit.models import Transformer


def _finding(model: nn.Module, batch: Any) -> Finding:
    return diagnose(model, [batch], probes="redundant-mean")["redundant-mean"]


def _transformer(**options: Any) -> Finding:
    torch.manual_seed(0)
    return _finding(Transformer(20, 32, 4, 3, **options), torch.randint(20, (2, 8)))


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"placement": "pre"}, "pre"),
        ({"placement": "peri"}, "peri"),
        ({"placement": "post"}, "reads the mean"),
        ({"placement": "output"}, "reads the mean"),
        ({"placement": "pre", "norm": "rms"}, "reads the mean"),
        ({"placement": "peri", "norm": "rms"}, "reads the mean"),
    ],
)
def test_only_pre_ln_has_a_redundant_mean(options: dict[str, Any], kind: str) -> None:
    finding = _transformer(**options)
    assert {site.detail["kind"] for site in finding.sites} == {kind}
    assert (finding.severity == "ok") == (kind != "pre")


def test_the_exact_remedy_comes_first_and_the_saving_is_measured() -> None:
    finding = _transformer(placement="pre")
    assert finding.severity == "act"
    assert finding.figure == pytest.approx(1, abs=1e-3)
    assert finding.remedies[0].name == "pre-rmsnorm"
    assert finding.remedies[0].kind == "exact"
    low, middle, high = (finding.detail[name] for name in ("time_ratio_low", "time_ratio", "time_ratio_high"))
    assert 0 < low <= middle <= high


def test_torch_encoder_layers_are_found_through_the_closed_fused_path() -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, norm_first=True, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(32), enable_nested_tensor=False).eval()
    finding = _finding(model, torch.randn(2, 6, 32))
    assert [site.detail["readers"] for site in finding.sites] == [2, 2]
    assert finding.severity == "act"


def test_an_architecture_without_a_recipe_is_watched_with_the_reason() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.mix = nn.LayerNorm(16), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.mix(self.norm(x)).tanh()

    finding = _finding(nn.Sequential(Block(), Block()), torch.randn(2, 6, 16))
    assert {site.detail["kind"] for site in finding.sites} == {"pre"}
    assert finding.severity == "watch"
    assert finding.detail["refused"]


def test_a_query_norm_inside_a_branch_is_not_an_output_norm() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.query_norm = nn.LayerNorm(16), nn.LayerNorm(16)
            self.query, self.out = nn.Linear(16, 16), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.out(self.query_norm(self.query(self.norm(x))))

    finding = _finding(nn.Sequential(Block(), Block()), torch.randn(2, 6, 16))
    assert {site.detail["kind"] for site in finding.sites} == {"pre"}


def test_bfloat16_streams_are_judged_at_their_own_rounding() -> None:
    torch.manual_seed(0)
    model = Transformer(20, 32, 4, 2, placement="pre").bfloat16()
    assert {site.detail["kind"] for site in _finding(model, torch.randint(20, (2, 8))).sites} == {"pre"}
