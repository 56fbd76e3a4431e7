from normkit.papers import Context, Ledger, Records, Show, powernorm

LOSSES = {  # (run, placement, batch): norm -> loss in evaluation, loss in training mode
    ("one_window", "post", 1): {"LN": (2.4, 2.4), "BN": (2.6, 2.62), "PN-V": (2.42, 2.42), "PN": (2.41, 2.41)},
    ("eight_windows", "post", 8): {"LN": (2.26, 2.26), "BN": (2.29, 2.35), "PN-V": (2.24, 2.26), "PN": (2.26, 2.27)},
    ("eight_windows", "pre", 8): {"LN": (2.36, 2.36), "PN": (2.31, 2.32), "PN, no layer scale": (2.6, 2.63)},
}


def _verdicts(finite=True, gap=1e-13, **changed):
    records = [{"run": "gradient_norms", "seed": 0, "gap": gap}]
    records.append(
        {"run": "thousand_steps", "seed": 0, "finite": finite, "norm": "PN", "placement": "post", "batch": 1}
    )
    for (run, placement, batch), norms in LOSSES.items():
        for norm, losses in norms.items():
            loss, other = changed.get(f"{placement}{batch}{norm}".replace(", no layer scale", "0"), losses)
            figures = {"norm": norm, "placement": placement, "batch": batch, "loss": loss, "training_mode_loss": other}
            records.append({"run": run, "seed": 0, **figures})
    claim = Ledger("embedded", 1)
    powernorm.judge(Records(records), claim, Show())
    assert all(entry.holds is None for entry in (claim.claims[0], *claim.claims[-3:]))
    return [entry.holds for entry in claim.claims[1:-3]]


def test_the_judge_tells_the_paper_from_its_opposite():
    """Gradient; batch 1: BN, PN; batch 8: PN, its gap; layer scale; a thousand steps."""
    assert _verdicts() == [True] * 7
    assert _verdicts(gap=1e-9) == [False] + [True] * 6
    assert _verdicts(post1BN=(2.45, 2.45))[1:3] == [False, True]
    assert _verdicts(post1PN=(2.44, 2.44))[1:3] == [True, False]
    assert _verdicts(post8PN=(2.32, 2.33))[3:5] == [False, True]
    assert _verdicts(post8PN=(2.26, 2.30))[3:5] == [True, False]
    assert _verdicts(finite=False)[-1] is False


def test_layer_scale_that_does_not_matter_fails_its_claim():
    assert _verdicts(pre8PN0=(2.35, 2.35))[5] is False


def test_the_gradient_has_the_papers_norm_whatever_the_draw():
    assert all(powernorm.gradient_norms(Context("smoke", seed))[0]["gap"] <= 1e-10 for seed in range(5))
