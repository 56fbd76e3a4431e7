"""Region norm's paper without its photographs: every claim that needs them says so, and nothing stops."""

import numpy as np
import pytest

from normkit.papers import Context, Ledger, Records, Show, get
from normkit.papers.region_norm import _exhibit, _inpainting, paper, regions, shift


def test_without_the_photographs_it_says_why(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path / "empty"))
    ctx, records = Context("embedded", 0), Records()
    for run, found in {"shift": shift(ctx), "by_batch": _inpainting(ctx, "batch"), "regions": regions(ctx)}.items():
        records += [{"run": run, "seed": 0, **record} for record in found]
    ledger = Ledger("embedded", 1)
    paper.judge_function(records, ledger, Show())
    unjudged = [claim for claim in ledger.claims if claim.holds is None]
    assert len(unjudged) == 7
    assert sum("bsds500_half.npz" in claim.reason for claim in unjudged) == 5
    assert [claim.holds for claim in ledger.claims if claim not in unjudged] == [True, True]


def test_the_sheet_of_pictures_is_input_mask_output_truth():
    import torch

    from normkit.models.inpainting import InpaintGenerator

    images = torch.rand(8, 3, 24, 24)
    sheet = np.frombuffer(bytes.fromhex(_exhibit(InpaintGenerator(4, 1, downs=1), images)), dtype=np.uint8)
    given, mask, output, truth = sheet.reshape(4, 24, 8 * 24, 3)
    hole = mask == 255
    assert (given[hole] == 255).all()
    assert (given[~hole] == truth[~hole]).all()
    assert (output[~hole] == truth[~hole]).all()
    assert get("region-norm") is paper
