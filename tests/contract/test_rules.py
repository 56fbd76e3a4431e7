"""Every rule, found by listing: it keeps what it promises, leaves the model as it was, and can be kept and repeated."""

import copy
import dataclasses
import json

import pytest
import torch
from torch import nn

from normkit import surgery
from normkit.conversion import Calibrated, Conversion, ConversionError, Rule, convert, load, rules
from normkit.conversion._framework.convert import TOLERANCE
from normkit.report import jsonable
from tests.conversion.instances import PATIENTS

each_rule = pytest.mark.parametrize("slug", list(rules()))


def converted(slug: str, **options) -> tuple[nn.Module, Conversion]:
    patient = PATIENTS[slug]
    model = patient.build()
    return model, convert(model, slug, data=patient.data(), **options)


def state_of(model: nn.Module) -> dict:
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "classes": {name: type(module) for name, module in model.named_modules()},
        "grads": {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()},
        "hooks": {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in model.named_modules()},
        "random": torch.get_rng_state(),
    }


def assert_same(before: dict, after: dict) -> None:
    for part in ("modes", "classes", "grads", "hooks"):
        assert before[part] == after[part], part
    assert before["tensors"].keys() == after["tensors"].keys()
    for name, tensor in before["tensors"].items():
        assert torch.equal(tensor, after["tensors"][name]), name
    assert torch.equal(before["random"], after["random"])


def outputs(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(batch)


@each_rule
def test_has_a_patient_and_says_what_it_does(slug: str):
    kind = rules()[slug]
    assert slug in PATIENTS, f"add a network for {slug} to tests/conversion/instances.py"
    assert dataclasses.is_dataclass(kind)
    assert kind.why
    assert kind.about
    assert kind.__doc__
    assert kind.kind in ("exact", "calibrated", "fresh")
    assert isinstance(kind(), Rule)
    json.dumps(kind().options)


@each_rule
def test_leaves_the_model_as_it_was(slug: str):
    patient = PATIENTS[slug]
    model, data = patient.build(), patient.data()
    before = state_of(model)
    convert(model, slug, data=data)
    assert_same(before, state_of(model))


@each_rule
def test_keeps_what_it_promises(slug: str):
    model, conversion = converted(slug)
    promised = rules()[slug]().promise
    assert conversion.kind == promised
    assert conversion.changes
    assert conversion.to == [slug]
    fresh = PATIENTS[slug].data()[0].flip(0) * 0.7 + 0.1  # an input that convert has not seen
    expected = outputs(copy.deepcopy(model), fresh)
    error = ((outputs(conversion.model, fresh) - expected).abs().max() / expected.abs().max()).item()
    if promised == "exact":
        assert conversion.max_rel_diff <= 1e-10
        assert len(conversion.trials) >= 3
        assert error < 1e-5


@each_rule
def test_a_calibrated_rule_finds_what_its_layers_can_compute(slug: str):
    """Where they can, it is as good as an exact rule; and not because the layers start there."""
    kind = rules()[slug]
    if kind.kind != "calibrated":
        return
    patient = PATIENTS[slug].reachable
    assert patient is not None, f"add a network that {slug} can reproduce to tests/conversion/instances.py"
    net = patient.build()
    fitted = convert(net, slug, data=patient.data())
    assert not fitted.skipped
    assert fitted.max_rel_diff <= TOLERANCE
    assert convert(net, kind(fit=False), data=patient.data()).max_rel_diff > 1e-2


@each_rule
def test_fitting_brings_a_calibrated_rule_nearer(slug: str):
    kind = rules()[slug]
    if not issubclass(kind, Calibrated):
        assert kind().promise in ("exact", "fresh")
        return
    patient = PATIENTS[slug]
    batch = patient.data()[0]
    model = patient.build()
    expected = outputs(copy.deepcopy(model), batch)
    fitted = outputs(convert(model, kind(), data=patient.data()).model, batch)
    rough = convert(model, kind(fit=False), data=patient.data())
    assert rough.kind == "fresh"
    assert any("must be trained" in remark for remark in rough.remarks)
    assert (fitted - expected).square().mean() < (outputs(rough.model, batch) - expected).square().mean()


@each_rule
def test_a_calibrated_rule_asks_for_data(slug: str):
    if rules()[slug].kind == "calibrated":
        with pytest.raises(ConversionError, match=f"{slug} is calibrated: pass data="):
            convert(PATIENTS[slug].build(), slug)


@each_rule
def test_a_dry_run_is_the_plan_and_touches_nothing(slug: str):
    patient = PATIENTS[slug]
    model = patient.build()
    before = state_of(model)
    plan = convert(model, slug, data=patient.data(), dry_run=True)
    assert_same(before, state_of(model))
    done = convert(model, slug, data=patient.data())
    assert plan.model is model
    assert (plan.changes, plan.skipped, plan.kind) == (done.changes, done.skipped, done.kind)
    assert plan.max_rel_diff is None


@each_rule
def test_in_place_is_the_same_conversion(slug: str):
    model, elsewhere = converted(slug)
    batch = PATIENTS[slug].data()[0]
    training = model.training
    here = convert(model, slug, data=PATIENTS[slug].data(), inplace=True)
    assert here.model is model
    assert model.training is training
    assert here.changes == elsewhere.changes
    assert torch.equal(outputs(model, batch), outputs(elsewhere.model, batch))


@each_rule
def test_copies_and_states_carry_over(slug: str):
    _, conversion = converted(slug)
    batch = PATIENTS[slug].data()[0]
    expected = outputs(conversion.model, batch)
    twin = copy.deepcopy(conversion.model)
    assert torch.equal(outputs(twin, batch), expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(outputs(conversion.model, batch), expected)
    twin.load_state_dict(conversion.model.state_dict())
    assert torch.equal(outputs(twin, batch), expected)


@each_rule
def test_can_be_kept_and_rebuilt(slug: str, tmp_path):
    _, conversion = converted(slug)
    batch = PATIENTS[slug].data()[0]
    training = conversion.model.training
    folder = conversion.save(tmp_path / "kept")
    rebuilt = load(folder, PATIENTS[slug].build())
    assert rebuilt.training is training
    assert [*rebuilt.state_dict()] == [*conversion.model.state_dict()]
    assert torch.equal(outputs(rebuilt, batch), outputs(conversion.model, batch))


@each_rule
def test_the_result_is_json(slug: str):
    _, conversion = converted(slug)
    told = json.loads(json.dumps(jsonable(conversion.to_dict()), allow_nan=False))
    wanted = {"to", "kind", "changes", "skipped", "max_abs_diff", "max_rel_diff", "time_ratio", "recipe"}
    assert wanted <= told.keys()
    assert all(change.keys() == {"path", "from", "to", "why"} for change in told["changes"])
    assert all(entry.keys() == {"path", "reason"} for entry in told["skipped"])
    assert told["time_ratio"] > 0


@each_rule
def test_exports(slug: str):
    _, conversion = converted(slug)
    model, batch = conversion.model.eval(), PATIENTS[slug].data()[0]
    program = torch.export.export(model, (batch,))
    torch.testing.assert_close(program.module()(batch), outputs(model, batch))


@each_rule
def test_exports_to_onnx(slug: str):
    """For a batch of any size, where the original does; computed by ONNX's own reference implementation."""
    evaluator = pytest.importorskip("onnx.reference", reason="onnx is needed to run an exported network")
    pytest.importorskip("onnxscript", reason="torch exports to ONNX through onnxscript")
    model, conversion = converted(slug)
    batch = PATIENTS[slug].data()[0]
    for net in (model.eval(), conversion.model.eval()):
        program = torch.onnx.export(net, (batch[:2],), dynamo=True, dynamic_shapes=[{0: "batch"}], verbose=False)
        graph = program.model_proto
        (got,) = evaluator.ReferenceEvaluator(graph).run(None, {graph.graph.input[0].name: batch.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), outputs(net, batch))


@each_rule
def test_trains_on(slug: str):
    _, conversion = converted(slug)
    model = conversion.model.train()
    model(PATIENTS[slug].data()[0]).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@each_rule
def test_a_second_time_there_is_nothing_left_to_do(slug: str):
    _, conversion = converted(slug)
    with pytest.raises(ConversionError, match="nothing could be converted") as refusal:
        convert(conversion.model, slug, data=PATIENTS[slug].data())
    assert refusal.value.skipped
    assert all(entry["reason"] for entry in refusal.value.skipped)


@each_rule
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keeps_dtype_and_requires_grad(slug: str, dtype: torch.dtype):
    patient = PATIENTS[slug]
    model = patient.build().to(dtype).requires_grad_(False)
    new = convert(model, slug, data=[batch.to(dtype) for batch in patient.data()]).model
    kept = dict(model.named_parameters())
    for name, parameter in new.named_parameters():
        assert parameter.dtype == dtype, name
        chosen = rules()[slug].chooses_what_trains
        assert chosen or name not in kept or not parameter.requires_grad, name


@each_rule
def test_hooks_of_the_user_go_along(slug: str):
    patient = PATIENTS[slug]
    model, data = patient.build(), patient.data()
    seen = []
    for path, module in surgery.find(model):
        if not surgery.find(module)[1:]:
            module.register_forward_hook(lambda module, args, output, path=path: seen.append(path))
    new = convert(model, slug, data=data).model
    seen.clear()
    outputs(new, data[0])
    before = set(seen)
    seen.clear()
    outputs(model, data[0])
    lost = set(seen) - before
    rewritten = {"relu"}  # an activation that an EvoNorm absorbed may not be called at all
    assert not {path for path in lost if path.rpartition(".")[2] not in rewritten}


@each_rule
def test_refuses_a_model_that_it_is_not_about(slug: str):
    with pytest.raises(ConversionError, match="nothing could be converted: the model: it has no"):
        convert(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), slug, data=[torch.randn(3, 4)])


@each_rule
def test_refuses_a_scripted_model(slug: str):
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(ConversionError, match="scripted"):
        convert(scripted, slug, data=[torch.randn(3, 4)])


@each_rule
def test_select_limits_it(slug: str):
    patient = PATIENTS[slug]
    with pytest.raises(ConversionError, match="select= names no"):
        convert(patient.build(), slug, data=patient.data(), select="nowhere.*")
