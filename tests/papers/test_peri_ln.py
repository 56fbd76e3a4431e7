import math

import pytest
import torch
from torch import nn

from normkit.models import character_model
from normkit.papers import Context, Records, _stream
from normkit.papers import peri_ln as module
from normkit.papers._harness.claim import Ledger
from normkit.training import fit_language_model


def test_the_stream_is_what_stands_between_the_layers() -> None:
    model = character_model(20, 2, context=9).eval()
    tokens = torch.randint(20, (2, 9))
    streams = _stream.hidden(model, tokens)
    assert len(streams) == 3
    assert torch.equal(streams[0], model.embedded(tokens))
    assert torch.equal(model.head(model.final_norm(streams[-1])), model(tokens))
    assert not model.layers[0]._forward_hooks


def test_variance_is_that_over_channels_whatever_the_type() -> None:
    x = torch.randn(4, 64) * 300
    assert _stream.variance(x) == pytest.approx(float(x.var(-1, correction=0).mean()), rel=1e-5)
    assert _stream.variance(x.half()) == pytest.approx(_stream.variance(x), rel=1e-2)  # half squares overflow at 256


def test_spikes_and_divergence_are_counted_as_they_are_defined() -> None:
    assert _stream.spikes([1.0, 1.0, 1.0, 4.0, 1.0, 3.1, 2.9]) == 2
    assert _stream.diverged([1.0] + [2.0] * 50)
    assert not _stream.diverged([1.0] + [2.0] * 49 + [0.5] + [2.0] * 49)


def test_a_run_that_breaks_off_is_a_record_and_fails_its_claims() -> None:
    context = Context("smoke", 0)
    run = {"run": "learning_rates", "seed": 0}
    records = Records(
        run | _stream.train_placement(context, placement, lr) for placement in module.PLACEMENTS for lr in module.RATES
    )
    broken = run | _stream.train_placement(context, "peri", math.inf)
    assert broken["diverged"]
    assert broken["largest"] == math.inf
    replaced = Records(broken | {"lr": 3e-2} if r["placement"] == "peri" and r["lr"] == 3e-2 else r for r in records)
    ledger = Ledger("embedded", 1)
    module._judge_rates(replaced, ledger)
    verdicts = {claim.statement: claim.holds for claim in ledger.claims}
    assert verdicts["peri-LN: change of the final variance between these rates, either way"] is False
    assert verdicts["highest rate: largest activation of peri-LN over pre-LN's"] is False


def test_half_precision_trains() -> None:
    ids = torch.arange(400) % 5
    model = character_model(5, 1, context=9, d_model=8, nhead=2, placement="peri")
    run = fit_language_model(model, ids, ids, context=9, steps=2, precision="bf16-mixed")
    assert all(map(math.isfinite, run.losses))
    assert isinstance(model.layers[0].norm1_out, nn.LayerNorm)
