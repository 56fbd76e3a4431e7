"""power_norm: the gradient's identities, the steps of the warm-up, padding, and what it refuses."""

import re

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from normkit.functional import power_norm
from normkit.kernels.reference.power_norm import gradients, layer_scale


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def state(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    wide = torch.float64
    return torch.ones(channels, dtype=wide), torch.zeros(channels, dtype=wide), torch.tensor(0)


@given(st.integers(2, 40), st.integers(1, 6), st.floats(0.01, 100), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_the_gradient_of_pn_v_has_the_papers_norm(positions: int, channels: int, scale: float, seed: int) -> None:
    """‖gu_c‖² = (‖g_c‖² − (Σ g_c û_c)²/n) / ψ_c², for ε = 0."""
    u = (normal(positions, channels, seed=seed) * scale).requires_grad_()
    g = normal(positions, channels, seed=seed + 1)
    y = power_norm(u, None, None, torch.ones_like(u[0]), training=True, variant="pn-v", group_num=0, eps=0.0)
    (gu,) = torch.autograd.grad(y, u, g)
    psi2 = u.detach().square().mean(0)
    wanted = (g.square().sum(0) - (g * y.detach()).sum(0).square() / positions) / psi2
    torch.testing.assert_close(gu.square().sum(0), wanted, rtol=1e-10, atol=1e-10 * float((1 / psi2).max()))


def test_batch_norm_loses_a_further_term_of_its_gradient() -> None:
    """‖gx_c‖² = (‖g_c‖² − (Σ g_c x̂_c)²/n − n mean(g_c)²) / σ_c²: the noise of the mean, which PN-V leaves out."""
    x, g, n = normal(12, 3).requires_grad_(), normal(12, 3, seed=1), 12
    y = (x - x.mean(0)) / x.var(0, correction=0).sqrt()
    (gx,) = torch.autograd.grad(y, x, g)
    along = (g * y.detach()).sum(0).square() / n + n * g.mean(0).square()
    torch.testing.assert_close(gx.square().sum(0), (g.square().sum(0) - along) / x.detach().var(0, correction=0))


@pytest.mark.parametrize("group_num", [1, 2, 6])
def test_layer_scale_and_its_gradient(group_num: int) -> None:
    x = normal(3, 4, 6).requires_grad_()
    assert gradcheck(lambda x: layer_scale(x, group_num, 1e-3), x)
    wanted = torch.nn.functional.rms_norm(x.unflatten(-1, (group_num, -1)), (6 // group_num,), eps=1e-3)
    torch.testing.assert_close(layer_scale(x, group_num, 1e-3), wanted.flatten(-2))
    # By hand, as the approximate backward pass has it: PN's with the correction switched off and nothing divided.
    gy, one = normal(3, 4, 6, seed=1), torch.ones(6, dtype=torch.float64)
    still = one - 1e-3  # so that sqrt(still + ε) = 1
    by_hand, *_ = gradients(gy, x.detach(), None, still, still, 0 * one, 0.0, group_num, 1e-3)
    torch.testing.assert_close(by_hand, torch.autograd.grad(layer_scale(x, group_num, 1e-3), x, gy)[0])


def test_the_running_value_follows_the_papers_recursion() -> None:
    """ν ← ν (1 − (1−α) Γ) + (1−α) Λ with ν = (1−α) e, Γ = mean(û²), Λ = mean(g û)."""
    alpha, (phi, e, iters) = 0.8, state(4)
    for step in range(5):
        x, gy = normal(7, 4, seed=step).requires_grad_(), normal(7, 4, seed=100 + step)
        nu, hat = (1 - alpha) * e, x.detach() / (phi + 1e-5).sqrt()
        y = power_norm(x, None, None, phi, e, iters, True, alpha_bwd=alpha, warmup_iters=0, group_num=0)
        torch.testing.assert_close(y.detach(), hat)
        y.backward(gy)
        wanted = nu * (1 - (1 - alpha) * hat.square().mean(0)) + (1 - alpha) * (gy * hat).mean(0)
        torch.testing.assert_close((1 - alpha) * e, wanted)
    assert int(iters) == 5


def test_the_warm_up_ends_at_its_step() -> None:
    """ψ² up to step W, the φ that the step before left afterwards; φ is averaged below W and moved always."""
    (phi, e, iters), wanted, warmup = state(2), torch.ones(2, dtype=torch.float64), 3
    for k in range(1, 6):
        x = normal(6, 2, seed=k) * k
        psi2 = x.square().mean(0)
        d = psi2 if k <= warmup else wanted
        y = power_norm(x, None, None, phi, e, iters, True, warmup_iters=warmup, group_num=0)
        torch.testing.assert_close(y, x / (d + 1e-5).sqrt())
        if k < warmup:
            wanted = wanted * (k - 1) / k + psi2 / k
        wanted = 0.9 * wanted + 0.1 * psi2
        torch.testing.assert_close(phi, wanted)


def test_backward_scale_chooses_by_what_is_divided() -> None:
    x, gy = normal(6, 2), normal(6, 2, seed=1)
    for scale, d in (("batch", x.square().mean(0)), ("running", torch.full((2,), 4.0, dtype=torch.float64))):
        leaf, (_, e, iters) = x.clone().requires_grad_(), state(2)
        phi = torch.full((2,), 4.0, dtype=torch.float64)
        options = {"warmup_iters": 0, "group_num": 0, "backward_scale": scale}
        power_norm(leaf, None, None, phi, e, iters, True, **options).backward(gy)
        torch.testing.assert_close(leaf.grad, gy / (d + 1e-5).sqrt())


@pytest.mark.parametrize("variant", ["pn", "pn-v"])
def test_padding_has_no_say_in_the_statistic(variant: str) -> None:
    x, padding = normal(3, 5, 4), torch.zeros(3, 5, dtype=torch.bool)
    padding[1:, 3:] = True
    changed = x.masked_fill(padding.unsqueeze(-1), torch.inf)
    outcomes, psi2 = [], x[~padding].square().mean(0)
    for batch in (x, changed):
        phi, e, iters = state(4)
        y = power_norm(batch, None, None, phi, e, iters, True, variant, group_num=0, pad_mask=padding)
        outcomes.append((phi, y[~padding]))
    torch.testing.assert_close(outcomes[0], outcomes[1])
    torch.testing.assert_close(outcomes[0][0], 0.9 * (psi2 if variant == "pn" else 1.0) + 0.1 * psi2)


def test_evaluation_does_not_look_at_the_padding() -> None:
    x, phi = normal(3, 4), normal(4).exp()
    everything = torch.ones(3, dtype=torch.bool)
    assert torch.equal(power_norm(x, None, None, phi, pad_mask=~everything), power_norm(x, None, None, phi))


def test_squares_beyond_half_precision() -> None:
    """x² is over float16's largest number from 256 on."""
    x = torch.full((4, 2), 3000.0, dtype=torch.float16)
    y = power_norm(x, None, None, torch.ones(2), training=True, variant="pn-v", group_num=0)
    torch.testing.assert_close(y, torch.ones_like(y))


REFUSED = [
    (r"weight must hold one value for each of the 4 channels.*\(3,\)", {"weight": torch.ones(3)}),
    ("what fits is 1, 2, 4", {"group_num": 3}),
    (r"alpha_fwd must lie in \[0, 1\), got 1.0", {"alpha_fwd": 1.0}),
    (r"alpha_bwd must lie in \[0, 1\), got -0.1", {"alpha_bwd": -0.1}),
    ("variant is 'pn' or 'pn-v', not 'pnv'", {"variant": "pnv"}),
    ("backward_scale is 'batch' or 'running', not 'both'", {"backward_scale": "both"}),
    ("moves running_gz and iters in training; give both", {"training": True}),
    (r"one value a position, \(2, 3\), got the shape \(3, 2\)", {"pad_mask": torch.zeros(3, 2, dtype=torch.bool)}),
    (
        "masks every position",
        {"pad_mask": torch.ones(2, 3, dtype=torch.bool), "training": True, "variant": "pn-v"},
    ),
    ("eps must be at least 0", {"eps": -1.0}),
]


@pytest.mark.parametrize(("message", "options"), REFUSED, ids=[next(iter(options)) for _, options in REFUSED])
def test_refusals(message: str, options: dict[str, object]) -> None:
    arguments = {"weight": None, "bias": None, "running_phi": torch.ones(4)} | options
    with pytest.raises(ValueError, match=message):
        power_norm(torch.ones(2, 3, 4), **arguments)


def test_a_mask_of_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match=re.escape("must be boolean (True at padding), got torch.float32")):
        power_norm(torch.ones(2, 4), None, None, torch.ones(4), pad_mask=torch.zeros(2))


def test_compiled_code_refuses_a_mask_of_everything_as_well() -> None:
    """There by an assertion of the device, for a traced call cannot look."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        options = {"training": True, "variant": "pn-v", "group_num": 0}
        compiled = torch.compile(
            lambda x, mask: power_norm(x, None, None, torch.ones(4), pad_mask=mask, **options),
            fullgraph=True,
            backend="aot_eager",
        )
        assert compiled(torch.ones(3, 4), torch.tensor([True, False, False])).shape == (3, 4)
        with pytest.raises(RuntimeError, match="masks every position"):
            compiled(torch.ones(3, 4), torch.ones(3, dtype=torch.bool))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
