"""Region normalisation by any label map: each region of the pixels is normalised by its own mean and variance.

    y = (x − μ_k)/sqrt(v_k + ε)   for every pixel of region k

Source: Yu et al. 2020, "Region Normalization for Image Inpainting", arXiv:1911.10375, section 3.1.
"""

import warnings

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from normkit.functional.region_norm import region_norm
from normkit.kernels.arguments import check_eps, check_float
from normkit.nn._regions import check_options, many_ranks, region_norm_over_ranks, resized

__all__ = ["RegionNorm2d"]


class RegionNorm2d(nn.Module):
    """y = (x − μ_k)/sqrt(v_k + ε) for every pixel of region k, of any number of regions; no parameters, no memory.

    Training and evaluation compute alike. In the batch style the statistics are those of the batch that is given, in
    evaluation too: an image's result then depends on its neighbours, and a batch of one warns.

    Args:
        style: "instance" takes the statistics of each sample (the paper), "batch" those of the whole batch.
        eps: ε, added to the variance.
        eps_mode: "plain"; "official" is ε·N/S_k as in the authors' code (N pixels in all, S_k in the region).
        num_regions: K, for labels 0 … K − 1; None counts the different labels in each call, which costs a look at the
            label and is refused where the call is compiled or exported.
        sync: batch style only: take the statistics over all ranks of `torch.distributed` (an all-gather a region).

    Shape:
        (batch, channels, H, W) and a label (batch, H₀, W₀) or (batch, 1, H₀, W₀), integer or bool, → as the input. A
        label of another size is brought to (H, W) by nearest neighbours; it must have the same ratio of the sides.

    Raises:
        TypeError: in the call, the input is no float tensor or the label is one.
        ValueError: an unknown style or mode, `eps` < 0, `sync` in the instance style; in the call, the input is not
            (batch, channels, H, W), the label does not fit it, or it holds a label outside of 0 … K − 1.
    """

    def __init__(
        self,
        style: str = "instance",
        eps: float = 1e-5,
        eps_mode: str = "plain",
        num_regions: int | None = None,
        *,
        sync: bool = False,
    ) -> None:
        super().__init__()
        check_options(type(self).__name__, style, eps_mode, sync)
        check_eps(type(self).__name__, eps)
        self.style, self.eps, self.eps_mode, self.num_regions, self.sync = style, eps, eps_mode, num_regions, sync

    def reset_parameters(self) -> None:
        """Nothing: there are none."""

    def forward(self, input: Shaped[Tensor, "*shape"], label: Shaped[Tensor, "..."]) -> Float[Tensor, "*shape"]:
        """Normalise each region of `input`."""
        check_float(type(self).__name__, input)
        if input.ndim != 4:
            raise ValueError(
                f"{type(self).__name__}: input must be (batch, channels, height, width), got the shape "
                f"{tuple(input.shape)}"
            )
        return self._normalize(input, resized(type(self).__name__, label, input), self.num_regions)

    def _normalize(
        self,
        input: Tensor,
        label: Tensor,
        num_regions: int | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        if self.style == "batch" and not self.training and len(input) == 1 and not torch.compiler.is_compiling():
            warnings.warn(
                f"{type(self).__name__}: in the batch style the result depends on the batch in evaluation too, and "
                "this batch is a single image; use the batch size of training, or style='instance'",
                stacklevel=3,
            )
        if self.sync and many_ranks():
            if num_regions is None:
                raise ValueError(f"{type(self).__name__}: sync=True needs num_regions, alike on every rank")
            return region_norm_over_ranks(input, label, num_regions, weight, bias, self.eps, self.eps_mode)
        return region_norm(input, label, num_regions, weight, bias, self.style, self.eps, self.eps_mode)

    def extra_repr(self) -> str:
        """The options."""
        return f"style={self.style!r}, eps={self.eps}, eps_mode={self.eps_mode!r}, num_regions={self.num_regions}"
