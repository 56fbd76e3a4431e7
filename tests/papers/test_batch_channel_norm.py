import pytest
import torch

from normkit.papers import Ledger, Records, Show, batch_channel_norm
from normkit.papers.batch_channel_norm import METHODS, channel_spread

ACCURACY = {1: {"BN": 0.4, "BCN+WS": 0.95}, 2: {"BN": 0.9, "GN": 0.8, "GN+WS": 0.97, "BCN+WS": 0.97}}
SPREAD = {"BN": 0.04, "GN": 0.4, "GN+WS": 0.12, "BCN+WS": 0.08}


def _verdicts(**changes):
    records = Records(
        {
            "batch": batch,
            "method": method,
            "accuracy": changes.get("accuracy", ACCURACY).get(batch, {}).get(method, 0.99),
            "spread": changes.get("spread", SPREAD)[method],
            "seed": 0,
        }
        for batch, methods in METHODS.items()
        for method in methods
    )
    claim = Ledger("embedded", 1)
    batch_channel_norm.judge(records, claim, Show())
    return [entry.holds for entry in claim.claims]


def test_the_judge_tells_the_paper_from_its_opposite():
    assert _verdicts() == [True, True, True, True, True, None]
    assert _verdicts(accuracy={1: {"BN": 0.9}, 2: {"BN": 0.99}})[:3] == [False, False, False]
    assert _verdicts(spread=SPREAD | {"BN": 0.3})[4] is False


def test_channel_spread_is_zero_for_equal_channels_and_grows_with_their_distance():
    channel = torch.randn(8, 1, 5, 5)
    assert channel_spread(channel.expand(8, 4, 5, 5)) == 0
    apart = torch.cat([channel, channel + 2 * channel.std()], dim=1)
    assert channel_spread(apart) == pytest.approx(1.0)  # two of the four pairs are 2 deviations apart
