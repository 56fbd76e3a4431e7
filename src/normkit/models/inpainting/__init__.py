"""Inpainting: the paper's networks, masks and losses, how they are trained, and one photograph filled in.

    generator = InpaintGenerator(width=16, blocks=2, downs=1, kernel_size=5, init_scale=1.0)
    train(generator, Examples(picture_files("photographs"), 64), DISTANCES, steps=400, batch_size=8)
    whole = fill(generator, read_picture("holiday.jpg"), read_mask("mask.png", size))

A layer and a small trainer, no rival of LaMa or of diffusion models. Source: Yu et al. 2020, arXiv:1911.10375.
"""

from normkit.data import random_masks
from normkit.models.inpainting.checkpoint import load_generator, save_generator
from normkit.models.inpainting.discriminator import InpaintDiscriminator
from normkit.models.inpainting.evaluation import BUCKETS, Bucket, evaluate, fill
from normkit.models.inpainting.examples import Examples, loader
from normkit.models.inpainting.generator import NORMS, InpaintGenerator
from normkit.models.inpainting.losses import discriminator_loss, generator_loss, hole_l1, merged, psnr, ssim
from normkit.models.inpainting.training import ADVERSARIAL, DISTANCES, Recipe, train

__all__ = [
    "ADVERSARIAL",
    "BUCKETS",
    "DISTANCES",
    "NORMS",
    "Bucket",
    "Examples",
    "InpaintDiscriminator",
    "InpaintGenerator",
    "Recipe",
    "discriminator_loss",
    "evaluate",
    "fill",
    "generator_loss",
    "hole_l1",
    "load_generator",
    "loader",
    "merged",
    "psnr",
    "random_masks",
    "save_generator",
    "ssim",
    "train",
]
