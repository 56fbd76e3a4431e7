"""SequenceBatchNorm: BatchNorm over batch and positions, channels last."""

import torch

from normkit.models import SequenceBatchNorm


def test_it_is_batch_norm_over_all_positions() -> None:
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    norm, flat = SequenceBatchNorm(4, dtype=torch.float64), torch.nn.BatchNorm1d(4, dtype=torch.float64)
    torch.testing.assert_close(norm(x), flat(x.flatten(0, 1)).unflatten(0, (3, 5)))
    torch.testing.assert_close(norm.norm.running_var, flat.running_var)
    torch.testing.assert_close(norm.eval()(x), flat.eval()(x.flatten(0, 1)).unflatten(0, (3, 5)))
