"""What an inpainting network is trained by, and what its results are measured by.

Source: Yu et al. 2020, arXiv:1911.10375, section 3.4 and the authors' code.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

__all__ = ["discriminator_loss", "generator_loss", "hole_l1", "merged", "psnr", "ssim"]

Images = Float[Tensor, "batch 3 height width"]
Masks = Shaped[Tensor, "batch 1 height width"]


def merged(prediction: Images, images: Images, masks: Masks) -> Images:
    """ŷ = G·M + x·(1−M): what the network says in the holes, the picture elsewhere."""
    return torch.where(masks.to(torch.bool), prediction, images)


def hole_l1(prediction: Images, images: Images, masks: Masks) -> Float[Tensor, ""]:
    """mean|ŷ − x| / mean(M), the mean distance of a pixel in the holes; 0 where there is no hole."""
    holes = masks.to(prediction.dtype)
    return ((prediction - images).abs() * holes).mean() / holes.mean().clamp_min(torch.finfo(holes.dtype).tiny)


def generator_loss(
    prediction: Images,
    images: Images,
    masks: Masks,
    judged: Float[Tensor, "..."] | None = None,
    *,
    full_weight: float = 0.0,
    adversarial_weight: float = 0.1,
) -> Float[Tensor, ""]:
    """L_G = mean|ŷ−x|/mean(M) + a·mean|G−x| + b·BCE(D(G), 1), `judged` being D's log odds of the raw prediction.

    The authors' a (`full_weight`) is 0 and b (`adversarial_weight`) 0.1; without a discriminator a = 0.1 keeps the
    picture outside of the holes.
    """
    loss = hole_l1(prediction, images, masks)
    if full_weight:
        loss = loss + full_weight * (prediction - images).abs().mean()
    if judged is not None:
        loss = loss + adversarial_weight * F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
    return loss


def discriminator_loss(real: Float[Tensor, "..."], fake: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """L_D = ½ [BCE(D(x), 1) + BCE(D(G), 0)], of log odds; the prediction must be detached."""
    cross_entropy = F.binary_cross_entropy_with_logits
    return 0.5 * (cross_entropy(real, torch.ones_like(real)) + cross_entropy(fake, torch.zeros_like(fake)))


def psnr(result: Images, images: Images) -> Float[Tensor, " batch"]:
    """10 log10(1 / mean squared error) of each picture in 0…1, in dB; infinite where both are equal."""
    return -10 * (result - images).square().flatten(1).mean(1).log10()


def ssim(result: Images, images: Images) -> Float[Tensor, " batch"]:
    """Structural similarity of each picture in 0…1 with a Gaussian window of 11×11, σ = 1.5, mean over the channels.

    (2 μ_x μ_y + c₁)(2 σ_xy + c₂) / ((μ_x² + μ_y² + c₁)(σ_x² + σ_y² + c₂)), c₁ = 0.01², c₂ = 0.03²: Wang et al. (2004),
    IEEE Transactions on Image Processing 13(4), equation 13.

    Raises:
        ValueError: a side is shorter than the window.
    """
    if min(images.shape[-2:]) < 11:
        raise ValueError(f"ssim: the window has 11×11 pixels, got pictures of {images.shape[-2]}×{images.shape[-1]}")
    offsets = torch.arange(-5, 6, dtype=images.dtype, device=images.device)
    line = torch.softmax(-offsets.square() / (2 * 1.5**2), 0)
    window = (line[:, None] * line).expand(images.shape[1], 1, 11, 11)

    def local(values: Tensor) -> Tensor:
        return F.conv2d(values, window, groups=values.shape[1])

    x, y = local(result), local(images)
    xx, yy = local(result * result) - x * x, local(images * images) - y * y
    xy = local(result * images) - x * y
    ratio = (2 * x * y + 1e-4) * (2 * xy + 9e-4) / ((x * x + y * y + 1e-4) * (xx + yy + 9e-4))
    return ratio.flatten(1).mean(1)
