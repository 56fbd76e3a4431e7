"""The layer-wise three-layer network: a learned polynomial feature, standardised to one number, and a link on it.

    ĝ(x) = uᵀ σ₁(V x + s) / √m₂
    h(x) = intercept + ĝ(x) + cᵀ relu(a ĝ°(x) + b) / √m₁,     ĝ° = (ĝ − mean) / std

σ₁(t) = Σ_{j ≤ k} he_j(t) with the orthonormal Hermite polynomials he_j. V, s, a and b are drawn and stay; u is trained
first, then c on another sample.

Source: Wang, Nichani, Lee 2024, "Learning Hierarchical Polynomials with Three-Layer Neural Networks",
arXiv:2311.13774, section 3. The standardised ĝ° stands for the paper's rescaling by its step sizes.
"""

from math import sqrt
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.kernels.arguments import check_float
from normkit.kernels.reference._precision import statistics_dtype
from normkit.nn._running import RunningStatistics, running_dtype

__all__ = ["LayerwiseThreeLayer"]


class LayerwiseThreeLayer(RunningStatistics):
    """h(x) = intercept + ĝ + cᵀ relu(a ĝ° + b)/√m₁ with ĝ = uᵀ σ₁(V x + s)/√m₂ and ĝ° = (ĝ − mean)/std.

    `normkit.estimators.HierarchicalPolynomialRegressor` trains it and gives it by `to_torch`. By hand: fit `u` by least
    squares of `hidden(x)`, call `set_feature_statistics` on the same sample, then fit `c` on a fresh one.
    Training both at once is another method, for which the paper's guarantee does not hold.

    Args:
        in_features: d.
        degree: k, the degree of the feature.
        n_features_1: m₂, units of the first stage; None is 3 d^k.
        n_features_2: m₁, units of the link.
        device, dtype: of `u` and `c`; what is drawn or measured is float32 or wider.

    Shape:
        (*, d) → (*).

    `state_dict`: the parameters `u` (m₂,) and `c` (m₁,), both 0 at first; the buffers `V` (m₂, d), rows uniform on the
    unit sphere, `s` (m₂,) 0, `a` (m₁,) ±1, `b` (m₁,) ~ N(0, 1), `feat_mean`, `feat_std` and `intercept`, 0-d.

    Raises:
        ValueError: a size below 1; in the call, an input whose last axis is not d.
        TypeError: in the call, an input that is no float tensor.
    """

    V: Tensor
    s: Tensor
    a: Tensor
    b: Tensor
    feat_mean: Tensor
    feat_std: Tensor
    intercept: Tensor

    def __init__(
        self,
        in_features: int,
        degree: int = 2,
        n_features_1: int | None = None,
        n_features_2: int = 200,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "degree": degree, "n_features_2": n_features_2}
        sizes |= {} if n_features_1 is None else {"n_features_1": n_features_1}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"LayerwiseThreeLayer: {name} must be at least 1, got {size}")
        self.in_features, self.degree, self.n_features_2 = in_features, degree, n_features_2
        self.n_features_1 = 3 * in_features**degree if n_features_1 is None else n_features_1
        first, second = self.n_features_1, n_features_2
        self.u = nn.Parameter(torch.empty(first, device=device, dtype=dtype))
        self.c = nn.Parameter(torch.empty(second, device=device, dtype=dtype))
        shapes = {"V": (first, in_features), "s": (first,), "a": (second,), "b": (second,)}
        for name, shape in (shapes | dict.fromkeys(("feat_mean", "feat_std", "intercept"), ())).items():
            self.register_buffer(name, torch.empty(shape, device=device, dtype=running_dtype(dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw V, a and b anew; u = c = s = 0, mean 0, std 1, intercept 0."""
        # In float64, so that the same seed draws the same network in every dtype.
        wide: dict[str, Any] = {"device": self.V.device, "dtype": torch.float64}
        self.V.copy_(nn.functional.normalize(torch.randn(self.V.shape, **wide), dim=1))
        self.a.copy_(2 * torch.randint(2, self.a.shape, **wide) - 1)
        self.b.copy_(torch.randn(self.b.shape, **wide))
        nn.init.ones_(self.feat_std)
        for zero in (self.u, self.c, self.s, self.feat_mean, self.intercept):
            nn.init.zeros_(zero)

    def hidden(self, x: Shaped[Tensor, "*batch d"]) -> Float[Tensor, "*batch m"]:
        """σ₁(V x + s)/√m₂, in float32 or wider: what `u` is a linear map of."""
        check_float("LayerwiseThreeLayer", x)
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"LayerwiseThreeLayer: made for {self.in_features} features on the last axis, got an input of shape "
                f"{tuple(x.shape)}"
            )
        wide = torch.promote_types(statistics_dtype(x.dtype), self.V.dtype)
        with _full_precision(x):
            t = x.to(wide) @ self.V.to(wide).mT + self.s
            return _hermite_sum(t, self.degree) / sqrt(self.n_features_1)

    def feature(self, x: Shaped[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """ĝ°(x), the learned feature with mean 0 and variance 1, in float32 or wider."""
        return (self._first(x) - self.feat_mean) / self.feat_std

    def link(self, z: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The learned link: the network's output where ĝ° = z, so that `link(feature(x))` is the output."""
        wide = torch.promote_types(statistics_dtype(z.dtype), self.V.dtype)
        with _full_precision(z):
            z = z.to(wide)
            bend = torch.relu(z[..., None] * self.a + self.b) @ self.c.to(wide) / sqrt(self.n_features_2)
            return self.intercept + self.feat_mean + self.feat_std * z + bend

    @torch.no_grad()
    def set_feature_statistics(self, x: Shaped[Tensor, "*batch d"]) -> None:
        """Take mean and (population) standard deviation of ĝ over the sample that `u` was trained on.

        Raises:
            ValueError: ĝ is constant or not finite there.
        """
        first = self._first(x)
        std = first.std(correction=0)
        if not (std > 0 and std.isfinite()):
            raise ValueError(f"LayerwiseThreeLayer: ĝ has the standard deviation {std.item()} on the sample: train u")
        self.feat_mean.copy_(first.mean())
        self.feat_std.copy_(std)

    def forward(self, x: Shaped[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """The prediction, in the input's dtype."""
        return self.link(self.feature(x)).to(x.dtype)

    def extra_repr(self) -> str:
        """The sizes."""
        widths = f"n_features_1={self.n_features_1}, n_features_2={self.n_features_2}"
        return f"{self.in_features}, degree={self.degree}, {widths}"

    def _first(self, x: Tensor) -> Tensor:
        hidden = self.hidden(x)
        with _full_precision(x):
            return hidden @ self.u.to(hidden.dtype)


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the feature is a difference of large powers. The meta device knows no autocast."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _hermite_sum(t: Tensor, degree: int) -> Tensor:
    """Σ_{j ≤ degree} he_j(t), by √(j+1) he_{j+1} = t he_j − √j he_{j−1}."""
    before, now = torch.zeros_like(t), torch.ones_like(t)
    total = now
    for j in range(degree):
        before, now = now, (t * now - sqrt(j) * before) / sqrt(j + 1)
        total = total + now
    return total
