"""Private similarity's paper: its peers do the work that they are said to do, its audits see a broken release."""

import copy
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from normkit.models import MobileNetV2
from normkit.papers import Context, Ledger, Records, Show, dp_similarity
from normkit.papers import _private_audit as audits
from normkit.papers._pretrained_features import (
    EPSILONS,
    EXPECTED,
    GRADIENTS,
    judge_photographs,
    measure_photographs,
    pooled_features,
    unit_rows,
)
from normkit.papers._private_peers import train_privately


def _linear() -> nn.Module:
    return nn.Linear(5, 3)


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


@pytest.mark.parametrize("make", [_linear, _network])
@pytest.mark.parametrize("clip", [0.05, 1.0, 100.0])
def test_both_ways_to_clip_train_the_same_model(make: Any, clip: float) -> None:
    x, y = torch.randn(40, 5, dtype=torch.float64), torch.arange(40) % 3
    one = make().double()
    two, before = copy.deepcopy(one), copy.deepcopy(one)
    for model, form_rows in ((one, True), (two, False)):
        train_privately(model, x, y, 5.0, 1e-3, steps=4, lr=0.1, clip=clip, form_rows=form_rows)
    for ours, theirs, start in zip(one.parameters(), two.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        assert not torch.equal(ours, start)


def test_a_step_is_the_sum_of_gradients_cut_to_their_length_and_noise() -> None:
    """Against autograd, a row at a time; with next to no privacy there is next to no noise."""
    x, y = 3 * torch.randn(6, 5, dtype=torch.float64), torch.arange(6) % 3
    model = _linear().double()
    expected = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for row, label in zip(x, y, strict=True):
        loss = nn.functional.cross_entropy(model(row[None]), label[None])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        for total, gradient in zip(expected.values(), gradients, strict=True):
            total += gradient * min(1.0, 0.5 / float(length))
    start = copy.deepcopy(model)
    train_privately(model, x, y, 1e7, 1e-3, steps=1, lr=6.0, clip=0.5)
    for name, value in model.named_parameters():
        moved = start.get_parameter(name) - value
        torch.testing.assert_close(moved, expected[name], rtol=0, atol=5e-3)
        assert float(expected[name].abs().max()) > 0.05


def test_the_noise_of_a_step_is_that_of_the_mechanism() -> None:
    model = nn.Linear(400, 10)
    x, y = torch.zeros(20, 400), torch.arange(20) % 10  # the gradient of the weights is 0
    start = model.weight.detach().clone()
    train_privately(model, x, y, 1.0, 1e-5, steps=1, lr=20.0, clip=2.0)
    assert float((model.weight.detach() - start).std()) == pytest.approx(2 * 3.73063163, rel=0.05)


def test_a_row_of_features_does_not_depend_on_the_others() -> None:
    network, images = MobileNetV2(10, 0.1), np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8)
    rows = unit_rows(pooled_features(network, images, 32))
    assert rows.shape == (4, 1280)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0)
    np.testing.assert_allclose(rows.mean(axis=1), 0.0, atol=1e-15)
    np.testing.assert_allclose(unit_rows(pooled_features(network, images[2:3], 32)), rows[2:3], atol=1e-6)


def test_without_the_photographs_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path / "empty"))
    (record,) = dp_similarity.photographs(Context("embedded", 0))
    assert "cifar10_mini.npz" in record["missing"]
    claim, show = Ledger("embedded", 1), Show()
    judge_photographs(Records([record]), claim, show)
    assert len(claim.claims) == 10
    assert all(each.holds is None and "cifar10_mini.npz" in str(each.reason) for each in claim.claims)
    assert not show.exhibits


def test_without_the_weights_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from normkit.papers import _pretrained_features as features

    found = SimpleNamespace(X=np.zeros((2, 8, 8, 3), np.uint8), y=np.zeros(2), split={})
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(features.data, "load", lambda name: found)
    (record,) = dp_similarity.photographs(Context("embedded", 0))
    assert "mobilenet_v2_imagenet.npz" in record["missing"]


def _as_expected(less: float) -> Records:
    rows: list[dict[str, Any]] = [
        {"method": method, "epsilon": epsilon, "accuracy": (accuracy - less) / 100}
        for method, accuracies in EXPECTED.items()
        for epsilon, accuracy in zip(EPSILONS, accuracies, strict=True)
    ]
    rows += [{"method": GRADIENTS, "epsilon": epsilon, "accuracy": 0.641} for epsilon in EPSILONS]
    rows += [{"method": name, "accuracy": 0.65} for name in ("nearest mean", "logistic regression")]
    rows += [{"method": name, "seconds": 1.0, "slower": 50.0} for name in (GRADIENTS, f"{GRADIENTS}, one a row")]
    return Records(rows)


@pytest.mark.parametrize(("less", "holds"), [(0.0, True), (3.0, True), (5.0, False)])
def test_accuracy_may_be_lower_by_the_error_of_the_test_and_not_by_more(less: float, holds: bool) -> None:
    claim, show = Ledger("embedded", 1), Show()
    judge_photographs(_as_expected(less), claim, show)
    judged = [each for each in claim.claims if "accuracy at" in each.statement]
    assert len(judged) == 8
    assert all(each.holds is holds for each in judged)
    (parity,) = [each for each in claim.claims if "less that of private training" in each.statement]
    assert parity.holds is None
    assert parity.measured == pytest.approx(59.5 - less - 64.1)
    assert re.search("50 000 images", str(parity.reason))
    assert len(show.exhibits) == 3


def test_the_smoke_run_measures_every_method() -> None:
    records = Records(measure_photographs(Context("smoke", 0)))
    assert {"inner product", "Gaussian, D = 300", GRADIENTS} <= set(records.distinct("method"))
    assert records.values("slower", method="inner product") == [1.0]


@pytest.mark.parametrize("kind", audits.AUDITED)
def test_many_releases_prove_less_than_the_budget_and_more_with_half_the_noise(kind: str) -> None:
    repeats = 20_000 if audits.AUDITED[kind].estimator.delta > 0 else 8_000
    assert 0.2 < audits.audit_releases(repeats, kind, 1.0) <= 1.0
    assert audits.audit_releases(repeats, kind, 0.5) > 1.0


@pytest.mark.parametrize("kind", audits.AUDITED)
def test_fits_hold_the_noise_that_many_releases_are_drawn_with(kind: str) -> None:
    """So an audit of the stated noise is one of the estimators: its size, a mean over 400 numbers or more."""
    audited = audits.AUDITED[kind]
    table = audited.neighbours()[0]
    exact, fits = audited.sums()[0], [audited.fit(table) for _ in range(200)]
    spend = fits[0].spend_
    away = np.stack([audited.integers(each) for each in fits]) - exact
    away = away[:, away.any(axis=0)]  # what is public has no noise
    assert away.shape[1] >= 2
    scale = spend.scale * audited.steps
    size = scale if spend.mechanism == "laplace" else scale * np.sqrt(2 / np.pi)
    if spend.mechanism == "laplace" and audited.steps == 1:
        size = 1 / np.sinh(1 / scale)  # E|k| of the discrete law
    assert np.abs(away).mean() == pytest.approx(size, rel=0.25)
