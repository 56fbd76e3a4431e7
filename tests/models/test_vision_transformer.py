"""VisionTransformer: patches in reading order, positions, norms where they are asked for."""

import pytest
import torch
from torch import nn

from normkit.models import VisionTransformer
from normkit.nn import LayerNorm, UnifiedNorm


def test_shapes_and_norms() -> None:
    model = VisionTransformer(7, image_size=12, patch_size=3, channels=2, norm=UnifiedNorm)
    assert model(torch.randn(5, 2, 12, 12)).shape == (5, 7)
    assert sum(isinstance(module, UnifiedNorm) for module in model.modules()) == 7
    assert model.position.weight.shape == (16, 32)


def test_post_norm_has_no_final_norm() -> None:
    model = VisionTransformer(placement="post", num_layers=2)
    assert model.final_norm is None
    assert sum(isinstance(module, LayerNorm) for module in model.modules()) == 4


def test_a_patch_is_what_its_position_says() -> None:
    """Changing one patch changes one row of what the first layer sees: row-major over the image."""
    model, seen = VisionTransformer(), []
    model.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.zeros(1, 1, 8, 8)
    model(image)
    image[0, 0, 2:4, 6:8] = 1.0
    model(image)
    changed = (seen[1] != seen[0]).any(-1)[0].nonzero().flatten()
    assert changed.tolist() == [7]


def test_matrices_start_small_and_biases_from_zero() -> None:
    torch.manual_seed(0)
    model = VisionTransformer(d_model=64, init_std=0.02)
    assert float(model.layers[0].linear1.weight.std()) == pytest.approx(0.02, rel=0.05)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert not any(bool(module.bias.any()) for module in linear)


def test_patches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="patch_size is 3: it must divide image_size, which is 8"):
        VisionTransformer(patch_size=3)
