import torch

from normkit.papers.two_pass_softmax import _ulp, _worst


def test_a_unit_in_the_last_place_is_the_step_to_the_next_float32():
    values = torch.rand(100) * 2.0 ** torch.randint(-100, 10, (100,))
    step = torch.nextafter(values, torch.full_like(values, torch.inf)) - values
    assert torch.equal(_ulp(values.double()), step.double())


def test_the_worst_error_counts_in_units_and_leaves_out_what_underflows():
    truth = torch.tensor([0.75, 2.0**-126], dtype=torch.float64)
    off = torch.tensor([0.75 + 3 * 2.0**-24, 0.0])
    assert _worst(off, truth) == 3.0
