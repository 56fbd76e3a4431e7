from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normkit.diagnosis import Context, Finding, Probe, diagnose, probes
from normkit.models import MLP
from tests.diagnosis.networks import convnet, images


class NeedsReference(Probe):
    slug, unit, threshold, threshold_source = "needs-reference", "", 1.0, "a test"
    needs = frozenset({"data", "reference"})

    def run(self, context: Context) -> Finding | str:
        return self.conclude([], summary="ran")


def test_every_probe_is_concluded_or_skipped_with_what_to_pass() -> None:
    diagnosis = diagnose(convnet(), images(32))
    named = {each.probe for each in (*diagnosis.findings, *diagnosis.skipped)}
    assert named == set(probes())
    assert all(each.reason for each in diagnosis.skipped)


def test_a_need_that_is_not_met_is_said() -> None:
    diagnosis = diagnose(convnet(), images(4), probes=[NeedsReference])
    assert [each.to_dict() for each in diagnosis.skipped] == [{"probe": "needs-reference", "reason": "pass reference="}]
    assert diagnose(convnet(), images(4), probes=[NeedsReference], reference=images(4)).findings[0].summary == "ran"


def test_findings_are_sorted_by_severity() -> None:
    diagnosis = diagnose(convnet(), images(1, count=100), max_batches=100)
    order = [("act", "watch", "ok").index(finding.severity) for finding in diagnosis.findings]
    assert order == sorted(order)
    assert diagnosis.findings[0].probe == "batch-noise"


def test_probes_are_chosen_by_slug_class_or_instance() -> None:
    kind = probes()["batch-noise"]
    for wanted in ("batch-noise", ["batch-noise"], [kind], [kind()]):
        assert [finding.probe for finding in diagnose(convnet(), images(4), probes=wanted).findings] == ["batch-noise"]
    with pytest.raises(ValueError, match=r"no probe 'noise'.*batch-noise"):
        diagnose(convnet(), images(4), probes="noise")


def test_the_same_seed_gives_the_same_figures() -> None:
    model = nn.Sequential(nn.Dropout(), *convnet())
    first, second = (diagnose(model, images(8), seed=3)["batch-noise"].figure for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", ["tensor", "pair", "list", "dict", "ordered"])
def test_batches_of_every_shape(kind: str) -> None:
    shapes: dict[str, Any] = {
        "tensor": lambda x, y: x,
        "pair": lambda x, y: (x, y),
        "list": lambda x, y: [x, y],
        "dict": lambda x, y: {"input": x, "labels": y},
        "ordered": lambda x, y: OrderedDict(input=x, labels=y),
    }
    diagnosis = diagnose(convnet(), [shapes[kind](x, y) for x, y in images(8)])
    assert diagnosis.samples == 32
    assert diagnosis["batch-noise"].figure > 0


def test_forward_and_loss_serve_models_of_other_shapes() -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = convnet()

        def forward(self, *, picture: Tensor) -> dict[str, Any]:
            return {"scores": {"a": self.net(picture)}}

    batches = [{"meta": ["x"], "picture": x, "class": y} for x, y in images(8)]
    diagnosis = diagnose(
        Strange(),
        batches,
        forward=lambda model, batch: model(picture=batch["picture"]),
        loss=lambda output, batch: nn.functional.cross_entropy(output["scores"]["a"], batch["class"]),
    )
    assert diagnosis["batch-noise"].sites[0].path == "net.1"


def test_a_model_that_returns_a_dict_says_what_to_pass() -> None:
    class Answers(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"a": x, "b": x}

    with pytest.raises(TypeError, match="forward="):
        diagnose(Answers(), images(4))


def test_bad_input_is_one_clear_error() -> None:
    model = convnet()
    with pytest.raises(ValueError, match="yields no batch"):
        diagnose(model, [])
    with pytest.raises(TypeError, match="Module"):
        diagnose("model", images(4))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an iterable of batches"):
        diagnose(model, images(4)[0][0])
    with pytest.raises(ValueError, match="at least 1"):
        diagnose(model, images(4), max_batches=0)
    with pytest.raises(ValueError, match="lazy"):
        diagnose(nn.Sequential(nn.LazyLinear(3)), images(4))
    with pytest.raises(ValueError, match="label is 10"):
        diagnose(model, [(images(4)[0][0], torch.full((4,), 10))])
    with pytest.raises(FloatingPointError, match="loss is nan"):
        diagnose(model, [(torch.full((4, 1, 8, 8), torch.nan), torch.zeros(4, dtype=torch.int64))])
    with pytest.raises(TypeError, match="scripted"):
        diagnose(torch.jit.trace(model.eval(), images(4)[0][0]), images(4))


def test_only_remedies_that_convert_would_apply_are_named() -> None:
    torch.manual_seed(0)
    rows = [(torch.randn(4, 8), torch.zeros(4, dtype=torch.long)) for _ in range(8)]
    by_rows = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    named = {remedy.name for remedy in diagnose(by_rows, rows)["batch-noise"].remedies}
    assert named == {"group-norm"}  # the others are made for (B, C, H, W)
    by_planes = {remedy.name for remedy in diagnose(convnet(), images(1, count=8))["batch-noise"].remedies}
    assert {"weight-standardization,batch-channel-norm", "evonorm-s0"} <= by_planes


class OfSomebodyElse(nn.BatchNorm1d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


def test_where_no_remedy_applies_the_summary_says_why() -> None:
    torch.manual_seed(0)
    rows = [(torch.randn(4, 8), torch.zeros(4, dtype=torch.long)) for _ in range(8)]
    own = nn.Sequential(nn.Linear(8, 8), OfSomebodyElse(8), nn.ReLU(), nn.Linear(8, 3))
    finding = diagnose(own, rows)["batch-noise"]
    assert finding.severity == "act"
    assert not finding.remedies
    assert "; no remedy applies here: " in finding.summary
    assert "forward" in finding.summary.rpartition(": ")[2]


def test_a_batch_on_another_device_is_named() -> None:
    with pytest.raises(ValueError, match="a batch is on meta and the model on cpu"):
        diagnose(convnet(), [torch.empty(4, 1, 8, 8, device="meta")])


def test_only_summaries_are_kept() -> None:
    """What probes hold after the run does not grow with the batch: a constant times the number of channels."""

    def held(batch: int) -> int:
        chosen = [kind() for kind in probes().values()]
        diagnose(convnet(), images(batch), probes=chosen)
        return sum(
            _numel(place.sums) for probe in chosen for place in getattr(probe, "places", {}).values()
        )  # fmt: skip

    assert held(256) <= held(32) + 64


def _numel(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, dict):
        return sum(map(_numel, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_numel, value))
    return _numel(vars(value)) if hasattr(value, "__dict__") else 1


def test_a_plain_mlp_without_norms_is_judged_by_what_applies() -> None:
    model = MLP([4, 8, 3])
    diagnosis = diagnose(model, [(torch.randn(16, 4), torch.arange(16) % 3)])
    assert diagnosis.severity == "ok"
    assert {each.probe for each in diagnosis.skipped} >= {"batch-noise", "elimination", "redundant-mean"}


def test_autocast_around_the_diagnosis_is_seen_and_kept() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Softmax(-1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        diagnosis = diagnose(model, [torch.randn(4, 8)])
        assert torch.is_autocast_enabled("cpu")
    assert diagnosis["precision"].severity == "ok"
