"""Maps that write zero-mean vectors: what keeps LayerNorm and RMSNorm equal while a network trains.

    W = C V,  b = C c,   C = I − 11ᵀ/d along the outputs; V and c are free

Recentring in every step, not once, gives V the very trajectory that W has under LayerNorm, with any element-wise
optimiser: gradients of a pre-LayerNorm network for its writers sum to 0 over the outputs.

Source: Jiang et al. 2023, "Pre-RMSNorm and Pre-CRMSNorm Transformers", arXiv:2305.14858, section 3.1.
"""

from typing import TypeVar

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normkit.surgery.zero_mean import recentre

__all__ = ["ZeroMeanEmbedding", "ZeroMeanLinear", "ZeroMeanOutput", "zero_mean_output"]

Module = TypeVar("Module", bound=nn.Module)


class ZeroMeanOutput(nn.Module):
    """V → V − mean(V) along the axis of the outputs.

    A parametrisation for `torch.nn.utils.parametrize`; `zero_mean_output(module)` registers it. Assigning to the
    parametrised weight sets V.

    Args:
        dim: axis of the outputs: 0 for `nn.Linear` and convolutions, −1 for a table of vectors.

    Shape:
        any → the same.
    """

    def __init__(self, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Subtract the mean over the outputs."""
        return recentre(weight, self.dim)

    def right_inverse(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """V = the weight assigned."""
        return weight

    def extra_repr(self) -> str:
        """The option."""
        return f"dim={self.dim}"


def zero_mean_output(module: Module, dim: int | None = None) -> Module:
    """Let `module` write zero-mean vectors, by its weight and its bias; changes the module and returns it.

    The shapes of weights and output stay. `normkit.weights.bake` makes the recentred weights plain ones again.

    Args:
        module: `nn.Linear`, a convolution, `nn.Embedding`, or any module with a `weight`.
        dim: axis of the weight that counts the outputs; None knows that of the three named.

    Raises:
        ValueError: the module has no weight, `dim` is not given for a module of another kind, or it is done already.
    """
    if not isinstance(getattr(module, "weight", None), Tensor):
        raise ValueError(f"zero_mean_output: {type(module).__name__} has no weight")
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError(f"zero_mean_output: {type(module).__name__}'s weight is parametrised already; bake it first")
    axis = _output_axis(module) if dim is None else dim
    parametrize.register_parametrization(module, "weight", ZeroMeanOutput(axis))
    if isinstance(getattr(module, "bias", None), Tensor):
        parametrize.register_parametrization(module, "bias", ZeroMeanOutput(0))
    return module


class ZeroMeanLinear(nn.Linear):
    """`torch.nn.Linear` whose outputs have mean 0: y = C (V x + c).

    Arguments, `state_dict` (`weight` is V, `bias` is c) and shapes are torch's: (*, in_features) → (*, out_features).
    Source: Jiang et al. 2023, arXiv:2305.14858, section 3.1.
    """

    def forward(self, input: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """Map with the recentred weight and bias."""
        bias = None if self.bias is None else recentre(self.bias, 0)
        return nn.functional.linear(input, recentre(self.weight, 0), bias)


class ZeroMeanEmbedding(nn.Embedding):
    """`torch.nn.Embedding` whose vectors have mean 0.

    Arguments, `state_dict` (`weight` is the free table) and shapes are torch's: (*) → (*, embedding_dim). Only the rows
    that are read are recentred. Source: Jiang et al. 2023, arXiv:2305.14858, section 3.1.
    """

    def forward(self, input: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch embedding_dim"]:
        """Look up and recentre."""
        return recentre(super().forward(input), -1)


def _output_axis(module: nn.Module) -> int:
    if isinstance(module, nn.Embedding):
        return -1
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return 0
    raise ValueError(f"zero_mean_output: which axis of {type(module).__name__}'s weight counts the outputs? say dim=")
