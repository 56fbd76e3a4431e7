"""A small vision transformer: patches, learned positions, encoder layers, a final norm, their mean, a linear head.

Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", arXiv:2010.11929, with the mean over patches (as in
its appendix D.3) in place of a class token.
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from normkit.models._placement import Norm, norm_factory
from normkit.models.transformer_encoder_layer import TransformerEncoderLayer

__all__ = ["VisionTransformer"]


class VisionTransformer(nn.Module):
    """Class scores of small images.

    Shapes: images (N, channels, image_size, image_size), in any scale; scores (N, num_classes).

    Args:
        num_classes: number of classes.
        image_size: pixels on a side.
        patch_size: pixels on a side of a patch; divides `image_size`.
        channels: of the images.
        d_model: width of the stream.
        nhead: heads of attention.
        num_layers: layers (two sub-layers each).
        dim_feedforward: width inside the MLP; default 4·d_model.
        placement: of the norms, as in `Transformer`.
        norm: "layer", "rms", or a factory from a width to a module.
        eps: ε of "layer" and "rms".
        init_std: standard deviation of every matrix and of the positions at the start; biases start from 0.

    Raises:
        ValueError: `patch_size` does not divide `image_size`; as `TransformerEncoderLayer`.
    """

    def __init__(
        self,
        num_classes: int = 10,
        image_size: int = 8,
        patch_size: int = 2,
        channels: int = 1,
        d_model: int = 32,
        nhead: int = 4,
        num_layers: int = 3,
        dim_feedforward: int | None = None,
        *,
        placement: str = "pre",
        norm: Norm = "layer",
        eps: float = 1e-5,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(f"patch_size is {patch_size}: it must divide image_size, which is {image_size}")
        self.patch_size = patch_size
        self.embed = nn.Linear(channels * patch_size**2, d_model)
        self.position = nn.Embedding((image_size // patch_size) ** 2, d_model)
        options: dict[str, Any] = {"placement": placement, "norm": norm, "activation": "gelu"}
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(
                d_model, nhead, dim_feedforward or 4 * d_model, 0.0, layer_norm_eps=eps, batch_first=True, **options
            )
            for _ in range(num_layers)
        )
        self.final_norm = norm_factory(norm, eps, True, {})(d_model) if placement != "post" else None
        self.head = nn.Linear(d_model, num_classes)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=init_std)
            elif name.endswith("bias") and "norm" not in name:
                nn.init.zeros_(parameter)

    def forward(self, images: Float[Tensor, "batch channels size size"]) -> Float[Tensor, "batch classes"]:
        """Scores of each image."""
        x = self.embed(F.pixel_unshuffle(images, self.patch_size).flatten(2).transpose(1, 2)) + self.position.weight
        for layer in self.layers:
            x = layer(x)
        return self.head((x if self.final_norm is None else self.final_norm(x)).mean(1))
