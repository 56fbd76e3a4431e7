import numpy as np
import pytest
import torch
from scipy.special import eval_hermitenorm, factorial

from normkit.nn import LayerwiseThreeLayer


def _trained(degree: int = 2) -> LayerwiseThreeLayer:
    net = LayerwiseThreeLayer(4, degree, n_features_1=9, n_features_2=7, dtype=torch.float64)
    with torch.no_grad():
        net.u.normal_()
        net.c.normal_()
        net.intercept.fill_(0.7)
        net.set_feature_statistics(torch.randn(50, 4, dtype=torch.float64))
    return net


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_it_is_its_equation(degree: int) -> None:
    net, x = _trained(degree), torch.randn(6, 4, dtype=torch.float64)
    u, c, V, a, b = (getattr(net, name).detach().numpy() for name in ("u", "c", "V", "a", "b"))
    t = x.numpy() @ V.T
    sigma = sum(eval_hermitenorm(j, t) / np.sqrt(factorial(j)) for j in range(degree + 1))
    first = sigma @ u / 3
    z = (first - net.feat_mean.item()) / net.feat_std.item()
    wanted = 0.7 + first + np.maximum(z[:, None] * a + b, 0) @ c / np.sqrt(7)
    assert np.allclose(net(x).detach().numpy(), wanted, rtol=1e-12)
    assert np.allclose(net.feature(x).detach().numpy(), z, rtol=1e-12)


def test_what_is_drawn() -> None:
    net = LayerwiseThreeLayer(5)
    assert net.V.shape == (75, 5)
    assert torch.allclose(net.V.norm(dim=1), torch.ones(75))
    assert set(net.a.tolist()) == {-1.0, 1.0}
    assert not any(tensor.any() for tensor in (net.u, net.c, net.s))
    assert {name for name, _ in net.named_parameters()} == {"u", "c"}
    assert "5, degree=2, n_features_1=75, n_features_2=200" in repr(net)


def test_the_feature_is_standardised_on_its_sample() -> None:
    net, x = _trained(), torch.randn(80, 4, dtype=torch.float64)
    net.set_feature_statistics(x)
    z = net.feature(x)
    assert z.mean().item() == pytest.approx(0, abs=1e-12)
    assert z.std(correction=0).item() == pytest.approx(1)


def test_an_untrained_feature_cannot_be_standardised() -> None:
    with pytest.raises(ValueError, match=r"deviation 0.0 on the sample: train u"):
        LayerwiseThreeLayer(3).set_feature_statistics(torch.randn(9, 3))


@pytest.mark.parametrize("name", ["in_features", "degree", "n_features_1", "n_features_2"])
def test_sizes_are_at_least_1(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        LayerwiseThreeLayer(**{"in_features": 3} | {name: 0})
