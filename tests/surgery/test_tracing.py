"""The data flow is the same whether torch.fx traces it or a run is observed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normkit import surgery
from tests.conversion.instances import encoder, images, residual_net, vectors


def told(flow: surgery.Flow) -> list[tuple]:
    kept = [step for step in flow.steps if step.kind != "input"]
    return [(step.kind, step.name, step.path, step.caller) for step in kept if step.kind == "module"]


def test_both_ways_see_the_same_modules_and_readers():
    net = residual_net().eval()
    traced, observed = surgery.trace(net), surgery.trace(net, images()[0])
    assert told(traced) == told(observed)
    for path, _ in surgery.find(net, (nn.Conv2d, nn.BatchNorm2d)):
        for side in ("followers", "producers"):
            names = [[step.path or step.name for step in getattr(flow, side)(path)] for flow in (traced, observed)]
            assert names[0] == names[1], (path, side)


def test_followers_are_modules_functions_and_sums():
    flow = surgery.trace(residual_net())
    assert [step.name for step in flow.followers("bn")] == ["relu"]
    assert [step.path for step in flow.followers("blocks.0.bn1")] == ["blocks.0.relu"]
    assert [step.name for step in flow.followers("blocks.1.bn2")] == ["add"]
    assert [step.path for step in flow.producers("blocks.1.bn2")] == ["blocks.1.conv2"]
    assert len(flow.calls("blocks.1.relu")) == 2


def test_the_caller_is_the_module_whose_forward_calls():
    flow = surgery.trace(residual_net(), images()[0])
    (downsample,) = flow.calls("blocks.1.downsample.1")
    assert downsample.caller == "blocks.1.downsample"
    (relu,) = flow.followers("bn")
    assert relu.caller == ""
    assert relu.function is not None
    assert surgery.is_activation(relu.function)


def test_a_run_follows_what_fx_cannot():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.one(x) if x.sum() > 0 else self.other(x)

    net = Choosing()
    with pytest.raises(ValueError, match=r"torch.fx cannot trace Choosing \(.*\): pass example="):
        surgery.trace(net)
    flow = surgery.trace(net, torch.ones(1, 2))
    assert flow.order("one") is not None
    assert flow.order("other") is None
    assert flow.followers("one")[0].kind == "output"


def test_in_place_functions_and_assignments_are_seen():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.last = nn.BatchNorm1d(2), nn.Linear(2, 2)

        def forward(self, x):
            y = F.relu(self.norm(x), inplace=True)
            y[:, 0] = 0
            return self.last(y)

    flow = surgery.trace(Writing().eval(), torch.randn(3, 2))
    assert [step.name for step in flow.followers("norm")] == ["relu"]
    assert [step.name for step in flow.producers("last")] == ["__setitem__"]


def test_tuples_and_mappings_are_arguments():
    net = nn.Bilinear(2, 2, 2)
    given = torch.randn(1, 2), torch.randn(1, 2)
    wanted = net(*given)
    assert torch.equal(surgery.call(net, given), wanted)
    assert torch.equal(surgery.call(net, {"input1": given[0], "input2": given[1]}), wanted)


def test_tracing_leaves_no_hook_behind_even_after_an_error():
    net = encoder()
    surgery.trace(net, vectors()[0])
    with pytest.raises((RuntimeError, AssertionError)):
        surgery.trace(net, torch.randn(2, 3, 99))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_scripted_part_is_passed_over():
    net = nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(2, 2))), nn.ReLU(), nn.Linear(2, 2))
    flow = surgery.trace(net, torch.randn(3, 2))
    assert [step.path for step in flow.followers("1")] == ["2"]
    assert flow.producers("1") == []


def test_hugging_face_outputs_and_caches():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=1
    )
    flow = surgery.trace(transformers.GPT2LMHeadModel(config).eval(), {"input_ids": torch.tensor([[1, 2, 3]])})
    assert [step.path for step in flow.followers("transformer.h.0.ln_1")] == ["transformer.h.0.attn.c_attn"]
    assert [step.path for step in flow.producers("transformer.ln_f")] != []
