"""Which kernel computes a call, and the three ways to override it."""

import os
import subprocess
import sys
import threading

import jaxtyping
import pytest
import torch
from torch import Tensor

from normkit import kernels
from normkit.functional.softmax import softmax
from normkit.kernels import dispatch as module
from normkit.kernels.dispatch import Kernel, KernelError, Op, dispatch


def _reference(x: Tensor) -> Tensor:
    return x + 1


@pytest.fixture
def op() -> Op:
    return Op("made_up", reference=_reference, kernels=("picky:torch.crms_norm", "broken:no_such_module.f"))


def test_the_package_attribute_is_the_module() -> None:
    assert module.dispatch is dispatch


def test_a_kernel_whose_module_is_missing_is_passed_over_and_says_why(op: Op) -> None:
    assert "no_such_module" in op.implementations["broken"].why_not
    x = torch.zeros(2)
    with kernels.disabled("picky"):
        assert torch.equal(dispatch(op, x), x + 1)
        with pytest.raises(KernelError, match=r"kernel 'broken' cannot compute this made_up: .*no_such_module"):
            dispatch(op, x, kernel="broken")


def test_a_kernel_that_refuses_the_call_is_passed_over_unless_it_is_forced() -> None:
    x = torch.randn(2, 3, dtype=torch.float64)
    assert torch.equal(softmax(x), softmax(x, kernel="torch"))
    if module.operations()["softmax"].implementations["native"].why_not:
        pytest.skip("no native kernel to force")
    with pytest.raises(KernelError, match=r"kernel 'native' cannot compute this softmax: .*float64"):
        softmax(x, kernel="native")


def test_a_kernel_that_another_is_quicker_than_is_passed_over_unless_it_is_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from normkit.kernels import channel_norms

    op = Op("made_up", reference=_reference, kernels=("modest:channel_norms.doubled",))
    monkeypatch.setattr(channel_norms, "doubled", lambda x: 2 * x, raising=False)
    monkeypatch.setattr(channel_norms, "WHY_NOT", "")
    monkeypatch.setattr(channel_norms, "supports", lambda op, x: None)
    monkeypatch.setattr(channel_norms, "prefers", lambda op, x: "it is small" if x.numel() < 3 else None)
    small, large = torch.ones(2), torch.ones(3)
    assert torch.equal(dispatch(op, small), small + 1)
    assert torch.equal(dispatch(op, large, kernel=None), 2 * large)
    assert torch.equal(dispatch(op, 3 * small, kernel="modest"), 6 * small)


def test_entries_are_module_and_function_with_an_optional_name() -> None:
    assert Kernel.named("op", "torch.softmax") == Kernel("op", "torch", "torch.softmax")
    assert Kernel.named("op", "native:softmax.softmax") == Kernel("op", "native", "softmax.softmax")


def test_disabled_nests_and_is_undone_by_an_exception() -> None:
    def usable() -> bool:
        return next(row["usable"] for row in kernels.available() if (row["op"], row["kernel"]) == ("rms_norm", "torch"))

    with kernels.disabled("torch"):
        with pytest.raises(ValueError, match="reference"), kernels.disabled("torch", "native"):
            softmax(torch.zeros(2), kernel="no such kernel")
        assert not usable()
    assert usable()
    assert not module.switched_off


def test_disabled_holds_in_other_threads() -> None:
    seen: list[str] = []

    def call() -> None:
        try:
            softmax(torch.zeros(2), kernel="torch")
        except KernelError as error:
            seen.append(str(error))

    with kernels.disabled("torch"):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert len(seen) == 1
    assert "switched off" in seen[0]


def test_the_reference_cannot_be_switched_off() -> None:
    with pytest.raises(ValueError, match="reference cannot be switched off"), kernels.disabled("reference"):
        pass


def test_environment_variable() -> None:
    code = (
        "from normkit import kernels; "
        "print(*(row['kernel'] for row in kernels.available() if row['reason'] == 'switched off'))"
    )
    environment = {**os.environ, "NORMKIT_DISABLE_KERNELS": " torch, triton "}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"torch", "triton"}
    assert done.stdout.split().count("torch") == sum(
        "torch" in op.implementations for op in kernels.operations().values()
    )


def test_available_has_a_row_for_every_kernel_and_the_reference() -> None:
    rows = {(row["op"], row["kernel"]) for row in kernels.available()}
    for op in kernels.operations().values():
        assert {(op.name, name) for name in [*op.implementations, "reference"]} <= rows


def test_a_result_of_several_parts_goes_into_out_by_its_first() -> None:
    pair = Op("pair", reference=lambda x: (x * 2, "more"))
    out = torch.empty(3)
    first, second = dispatch(pair, torch.ones(3), out=out)
    assert first is out
    assert second == "more"
    assert torch.equal(out, torch.full((3,), 2.0))


def test_compiled_code_sees_a_kernel_switched_off() -> None:
    torch.compiler.reset()
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        compiled = torch.compile(lambda x: softmax(x), fullgraph=True, backend="aot_eager")
        x = torch.randn(2, 5)
        torch.testing.assert_close(compiled(x), torch.softmax(x, -1))
        with kernels.disabled("native", "torch"):
            torch.testing.assert_close(compiled(x), torch.softmax(x, -1))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_without_the_native_module_everything_is_served_and_the_reason_is_said() -> None:
    code = """
import sys
sys.modules["normkit._native"] = None  # as if it had not been built
import torch
from normkit import kernels
from normkit.functional.log_softmax import log_softmax
from normkit.functional.logsumexp import logsumexp
from normkit.functional.softmax import softmax
x = torch.randn(2, 5, requires_grad=True)
for ours, torchs in ((softmax, torch.softmax), (log_softmax, torch.log_softmax), (logsumexp, torch.logsumexp)):
    assert torch.equal(ours(x, -1), torchs(x, -1))
    assert torch.equal(torch.vmap(lambda row: ours(row, 0))(x), torch.vmap(lambda row: torchs(row, 0))(x))
try:
    softmax(x, kernel="native")
except kernels.KernelError as error:
    print(error)
print({row["reason"] for row in kernels.available() if row["kernel"] == "native"})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, reasons = done.stdout.splitlines()
    assert said.startswith("kernel 'native' cannot compute this softmax: normkit was installed without its C++ part")
    assert "normkit was installed without its C++ part" in reasons
