"""What a compiler sees of a call with CUDA tensors: torch's own operators, which it fuses. No GPU is needed to look."""

import jaxtyping
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from normkit import functional as F
from normkit.kernels.triton import availability, cross_entropy, evonorm_s0, norms, softmax, tensors

pytestmark = pytest.mark.skipif(availability.INTERPRETED, reason="an interpreter is nothing to compile for")

CALLS = {
    "softmax": lambda x, w, target: F.softmax(x, -1),
    "log_softmax": lambda x, w, target: F.log_softmax(x, -1),
    "logsumexp": lambda x, w, target: F.logsumexp(x, -1),
    "layer_norm": lambda x, w, target: F.layer_norm(x, (4096,), w, w),
    "rms_norm": lambda x, w, target: F.rms_norm(x, (4096,), w),
    "crms_norm": lambda x, w, target: F.crms_norm(x, w),
    "cross_entropy": lambda x, w, target: F.cross_entropy(x, target),
    "evonorm_s0": lambda x, w, target: F.evonorm_s0(x.unsqueeze(-1), w, w, w, 32),
    "evonorm_b0": lambda x, w, target: F.evonorm_b0(x.unsqueeze(-1), w, w, w, w.clone(), True),
    "group_norm": lambda x, w, target: F.group_norm(x.unsqueeze(-1), 32, w, w),
    "batch_channel_norm": lambda x, w, target: F.batch_channel_norm(
        x.unsqueeze(-1), w.clone(), w.clone(), w, w, 32, w.new_ones(1, 32, 1), w.new_zeros(1, 32, 1), True
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_compiled_graph_holds_torchs_operators_and_no_others(name):
    seen = []

    def backend(graph, inputs):
        seen.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph

    jaxtyping.config.update("jaxtyping_disable", True)
    torch.compiler.reset()
    try:
        with FakeTensorMode():
            x, w = torch.empty(64, 4096, device="cuda"), torch.empty(4096, device="cuda")
            target = torch.empty(64, dtype=torch.int64, device="cuda")
            result = torch.compile(CALLS[name], backend=backend, fullgraph=True)(x, w, target)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert result.device.type == "cuda"
    assert seen
    assert not [target for target in seen if _ours(target)]


def _ours(target):
    return "normkit" in str(target) or "normkit" in (getattr(target, "__module__", "") or "")


@pytest.mark.parametrize("name", CALLS)
def test_an_exported_program_holds_them_too(name):
    class Module(torch.nn.Module):
        def forward(self, x, w, target):
            return CALLS[name](x, w, target)

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with FakeTensorMode():
            x, w = torch.empty(64, 4096, device="cuda"), torch.empty(4096, device="cuda")
            target = torch.empty(64, dtype=torch.int64, device="cuda")
            program = torch.export.export(Module(), (x, w, target))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    called = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert called
    assert not [target for target in called if _ours(target)]


@pytest.mark.parametrize(
    ("module", "op"),
    [
        (softmax, "softmax"),
        (softmax, "log_softmax"),
        (softmax, "logsumexp"),
        (norms, "layer_norm"),
        (norms, "rms_norm"),
        (norms, "crms_norm"),
        (cross_entropy, "cross_entropy"),
        (evonorm_s0, "evonorm_s0"),
    ],
)
def test_where_there_is_a_gpu_the_kernels_leave_to_the_compiler_what_it_traces(module, op, monkeypatch):
    """The same where `WHY_NOT` is empty: either the kernel refuses or it prefers the next one, with the reason."""
    monkeypatch.setattr(tensors, "WHY_NOT", "")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with FakeTensorMode():
        x = torch.empty(64, 4096, device="cuda")
        arguments = (-1,) if module is softmax else (x, x, x)
        reason = module.supports(op, x, *arguments) or module.prefers(op, x, *arguments)
    assert "a compiler fuses" in reason
