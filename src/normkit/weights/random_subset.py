"""A few weights drawn at random from every filter train, and all others keep their values to the bit.

    W[o, j] = v[o, i] where j = index[o, i], else W₀[o, j]

Source: Frankle et al. 2021, "Training BatchNorm and Only BatchNorm", arXiv:2003.00152, section 4 (two weights for each
output channel are as many as its γ and β).
"""

import warnings

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["RandomSubset", "random_subset", "subset_masks"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class RandomSubset(nn.Module):
    """W from its trained entries v (filters, k): those at `index` are v, the others are the frozen `base`.

    A parametrisation for `torch.nn.utils.parametrize`; `random_subset(model)` registers it. The optimiser sees v alone,
    so that neither weight decay nor momentum can move a frozen entry and any training loop will do. Assigning to the
    weight sets v and the base.

    Args:
        base: W₀, the weight as it is, (filters, …).
        count: k, entries of each filter that train; a filter that is smaller trains whole.
        generator: of the positions, drawn on the CPU without replacement; None takes torch's default one.

    Shape:
        (filters, k) → (filters, …).
    """

    base: Tensor
    index: Tensor

    def __init__(self, base: Float[Tensor, "..."], count: int = 2, generator: torch.Generator | None = None) -> None:
        super().__init__()
        filters, size = base.shape[0], base[0].numel()
        order = torch.rand(filters, size, generator=generator).argsort(dim=1)
        self.register_buffer("base", base.detach().clone())
        self.register_buffer("index", order[:, : min(count, size)].sort(dim=1).values.to(base.device))

    @property
    def mask(self) -> Bool[Tensor, "..."]:
        """True where an entry of W trains."""
        flat = torch.zeros_like(self.base, dtype=torch.bool).flatten(1)
        return flat.scatter(1, self.index, True).view_as(self.base)

    def forward(self, values: Float[Tensor, "filters count"]) -> Float[Tensor, "..."]:
        """W."""
        return self.base.flatten(1).scatter(1, self.index, values).view_as(self.base)

    def right_inverse(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "filters count"]:
        """v of a weight that is assigned; its other entries become the base."""
        self.base.copy_(weight.detach())
        return weight.flatten(1).gather(1, self.index)

    def extra_repr(self) -> str:
        """How many of how many."""
        return f"{self.index.shape[1]} of {self.base[0].numel()} entries of each filter"


def random_subset(model: nn.Module, count: int = 2, *, seed: int = 0) -> dict[str, int]:
    """Let `count` weights of every filter of every convolution train and freeze the others; changes the model.

    Returns the number of trained entries of each convolution by path. Other parameters are left as they are. The
    function of the network stays the same; `normkit.weights.bake` makes the weights plain again.

    Shapes: every weight keeps its own. Source: Frankle et al. 2021, arXiv:2003.00152, section 4.

    Raises:
        ValueError: `count` is below 1, the model has no convolution, or one has another parametrisation.

    Warns:
        UserWarning: filters are smaller than `count` and train whole, so that there are fewer than asked for.
    """
    if count < 1:
        raise ValueError(f"count is {count}: at least one weight of a filter must train")
    layers = {path: m for path, m in model.named_modules() if isinstance(m, CONVOLUTIONS)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no convolution whose filters could be drawn from")
    for path, layer in layers.items():
        if parametrize.is_parametrized(layer, "weight"):
            raise ValueError(f"{path} has a parametrised weight: bake it first (normkit.weights.bake)")
    small = [path for path, layer in layers.items() if layer.weight[0].numel() < count]
    if small:
        warnings.warn(
            f"{', '.join(small)}: filters have less than {count} weights and train whole, so fewer than {count} a "
            "channel train",
            stacklevel=2,
        )
    generator = torch.Generator().manual_seed(seed)
    return {path: _draw(layer, count, generator) for path, layer in layers.items()}


def subset_masks(model: nn.Module) -> dict[str, Tensor]:
    """By path of its module, for every weight that trains in part: True where an entry does, of the weight's shape."""
    return {
        path.removesuffix(".parametrizations.weight.0"): step.mask
        for path, step in model.named_modules()
        if isinstance(step, RandomSubset)
    }


def _draw(layer: nn.Module, count: int, generator: torch.Generator) -> int:
    subset = RandomSubset(layer.get_parameter("weight"), count, generator)
    parametrize.register_parametrization(layer, "weight", subset)
    return layer.get_parameter("parametrizations.weight.original").requires_grad_().numel()
