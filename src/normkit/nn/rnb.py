"""Basic region normalisation (RN-B): holes and valid pixels are normalised apart, by the mask that is known.

    y = M·(x̂ (1+γ_f) + β_f) + (1−M)·(x̂ (1+γ_b) + β_b),   x̂ normalised within the regions M and 1 − M

Source: Yu et al. 2020, "Region Normalization for Image Inpainting", arXiv:1911.10375, section 3.2.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.nn._maps import check_maps
from normkit.nn._regions import as_mask, resized
from normkit.nn.region_norm import RegionNorm2d

__all__ = ["RNB"]


class RNB(RegionNorm2d):
    """y = M·(x̂ (1+γ_f) + β_f) + (1−M)·(x̂ (1+γ_b) + β_b); for the early layers of a net that is given the mask.

    x̂ is x normalised in the hole (M = 1, the foreground) and outside of it (the background) each by its own
    statistics. `state_dict` as in the authors' code: `foreground_gamma`, `foreground_beta`, `background_gamma`,
    `background_beta`, all 0 at first.

    Args:
        num_features: C, channels.
        style: "instance" (the paper) or "batch" (the authors' code), see `RegionNorm2d`.
        eps: ε, added to the variance.
        affine_mode: "paper"; "official" adds β_f + β_b everywhere, as the authors' code does, for its checkpoints.
        eps_mode: "plain"; "official" is ε·N/S_k, as the authors' code has it.
        sync: batch style only: take the statistics over all ranks of `torch.distributed`.
        device, dtype: of the parameters.

    Shape:
        (batch, C, H, W) and a mask (batch, 1, H₀, W₀) of 0 (valid) and 1 (hole), any dtype, → as the input. The mask is
        brought to (H, W) by nearest neighbours, without a gradient; small holes may vanish, which is safe.

    Raises:
        TypeError: in the call, the input is no float tensor.
        ValueError: an unknown style or mode, `eps` < 0; in the call, the input is not (batch, C, H, W), the mask holds
            other values than 0 and 1 (says how to threshold it), or its sides have another ratio than the input's.
    """

    foreground_gamma: nn.Parameter
    foreground_beta: nn.Parameter
    background_gamma: nn.Parameter
    background_beta: nn.Parameter

    def __init__(
        self,
        num_features: int,
        style: str = "instance",
        eps: float = 1e-5,
        affine_mode: str = "paper",
        eps_mode: str = "plain",
        *,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(style, eps, eps_mode, num_regions=2, sync=sync)
        if affine_mode not in ("paper", "official"):
            raise ValueError(f"RNB: affine_mode is 'paper' or 'official', not {affine_mode!r}")
        self.num_features, self.affine_mode = num_features, affine_mode
        for name in ("foreground_gamma", "foreground_beta", "background_gamma", "background_beta"):
            self.register_parameter(name, nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype)))

    def reset_parameters(self) -> None:
        """γ_f = β_f = γ_b = β_b = 0."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, input: Shaped[Tensor, "*shape"], mask: Shaped[Tensor, "..."]) -> Float[Tensor, "*shape"]:
        """Normalise the hole and the rest of `input`."""
        check_maps("RNB", input, self.num_features)
        label = resized("RNB", as_mask("RNB", mask), input)
        weight = 1 + torch.stack([self.background_gamma, self.foreground_gamma])
        bias = torch.stack([self.background_beta, self.foreground_beta])
        if self.affine_mode == "official":
            bias = bias.sum(0).expand(2, -1)
        return self._normalize(input, label, 2, weight, bias)

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.num_features}, style={self.style!r}, eps={self.eps}, affine_mode={self.affine_mode!r}, "
            f"eps_mode={self.eps_mode!r}"
        )
