from normkit.papers import Ledger, Records, Show, normalized_lr


def test_the_fastest_step_size_is_the_one_with_the_fewest_steps():
    """Not the largest one."""
    figures = {0.01: (900, 0.7), 1.0: (100, 140.0), 100.0: (300, 7.0)}
    rows = [
        {"gamma": gamma, "steps": steps, "largest_loss": loss, "rises": 0, "loss": [1.0], "accuracy": [1.0]}
        for gamma, (steps, loss) in figures.items()
    ]
    claim = Ledger("embedded", 1)
    normalized_lr._judge_progress(Records(rows), claim, Show())
    (entry,) = claim.claims
    assert abs(entry.measured - 200) < 1e-9
