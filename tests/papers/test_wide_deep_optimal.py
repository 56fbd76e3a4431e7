"""The judge tells the paper from its opposite; the tangent kernel of a finite network is autograd's."""

from typing import Any

import pytest
import torch

from normkit.nn import optimal_activation
from normkit.papers import Context, Ledger, Records, Show, wide_deep_optimal
from normkit.papers._wide_deep_gpu import gpu_queries, seconds_of_queries
from normkit.papers._wide_deep_limits import NETWORKS, transient
from normkit.papers._wide_deep_widths import empirical_ntk

RISKS = {"singular kernel": 0.0, "1-NN": 0.1, "majority": 0.2, "Hilbert": 0.0005, "15-NN": -0.01}
COUNTS = {250: 0.3, 1000: 0.25, 4000: 0.235, 16000: 0.22}


def _records(**changed: Any) -> Records:
    rows: list[dict[str, Any]] = []
    for d in (1, 2, 4):
        for n, risk in (COUNTS | changed.get("counts", {})).items():
            for name, more in (RISKS | changed.get("risks", {})).items():
                rows.append({"run": "optimality", "d": d, "n": n, "classifier": name, "risk": risk + more})
    for name, (_, _, depths) in NETWORKS.items():
        for depth in depths:
            agreement = changed.get("agreement", {}).get(name, 1.0) if depth == max(depths) else 0.5
            rows.append({"run": "limits", "network": name, "limit": "its own", "depth": depth, "agreement": agreement})
    rows.append({"run": "transient", "layers": None, "exponent": changed.get("exponent", 3.0)})
    slow = {100: (0.9, 0.98), 10**6: (0.98, 0.9)} | changed.get("transient", {})
    rows += [{"run": "transient", "layers": n, "limit": a, "nearest": b} for n, (a, b) in slow.items()]
    for width, errors in ({256: (0.1, 1.0, 9.0), 1024: (0.1, 0.5, 9.0)} | changed.get("widths", {})).items():
        rows += [{"run": "widths", "width": width, "error": error} for error in errors]
    rows += [{"run": "gpu_queries", "seconds": seconds} for seconds in changed.get("gpu", ())]
    return Records({"seed": 0} | row for row in rows)


def _verdicts(**changed: Any) -> list[bool | None]:
    claim = Ledger("embedded", 1)
    wide_deep_optimal.judge(_records(**changed), claim, Show())
    return [entry.holds for entry in claim.claims]


def test_what_is_as_claimed_holds() -> None:
    assert _verdicts() == [True] * 15 + [None]


def test_a_gpu_is_judged_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _verdicts(gpu=[20.0])[-1] is True
    assert _verdicts(gpu=[70.0])[-1] is False
    assert seconds_of_queries("cpu", 200, 150, 0) > 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_queries(Context("full", 0)) == []


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"counts": {16000: 0.233}}, [0]),
        ({"counts": {4000: 0.26}}, [1, 3]),
        ({"risks": {"1-NN": 0.05}}, [4]),
        ({"risks": {"Hilbert": 0.002}}, [5]),
        ({"risks": {"15-NN": 0.001}}, [6]),
        ({"agreement": {"optimal, last layer": 0.98, "ReLU, all layers": 0.98}}, [7, 10]),
        ({"agreement": {"optimal, all layers": 0.5}}, []),
        ({"exponent": 1.0}, [11]),
        ({"transient": {100: (0.98, 0.9)}}, [12]),
        ({"transient": {10**6: (0.9, 0.98)}}, [13]),
        ({"widths": {1024: (0.1, 1.0, 1.0)}}, [14]),
    ],
)
def test_what_is_not_fails(changed: dict[str, Any], failing: list[int]) -> None:
    assert [number for number, holds in enumerate(_verdicts(**changed)) if holds is False] == failing


def test_a_deep_tangent_kernel_has_a_singularity_of_its_own() -> None:
    exponents = [row["exponent"] for row in transient(Context("smoke", 0)) if row["layers"] is None]
    assert exponents == [pytest.approx(3, abs=0.01)]


def test_the_tangent_kernel_of_a_finite_network_is_autograds() -> None:
    x = torch.nn.functional.normalize(torch.rand(4, 3, generator=torch.Generator().manual_seed(0)).double())
    drawn = torch.Generator().manual_seed(1)
    shapes = ((16, 3), (16, 16), (16,))
    weights = [torch.randn(*shape, generator=drawn).double().requires_grad_() for shape in shapes]
    phi = optimal_activation(2)
    out = phi(phi(x @ weights[0].T) @ weights[1].T / 4) @ weights[2] / 4
    rows = [torch.cat([g.ravel() for g in torch.autograd.grad(f, weights, retain_graph=True)]) for f in out]
    jacobian = torch.stack(rows)
    torch.testing.assert_close(empirical_ntk(x, 16, torch.Generator().manual_seed(1)), jacobian @ jacobian.T)
