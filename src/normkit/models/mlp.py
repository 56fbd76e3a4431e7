"""A multi-layer perceptron with a normaliser before each non-linearity."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """h ← φ(norm(W h + b)) for each hidden layer, then one linear map.

    Layer normalisation's batch-size experiment uses sizes (64, 100, 100, 10) with ReLU (the setting is this
    project's; Ba, Kiros and Hinton 2016, arXiv:1607.06450, section 6, use other sizes on MNIST).

    Shapes: input (N, …), flattened to (N, sizes[0]); output (N, sizes[-1]).

    Args:
        sizes: width of the input, of each hidden layer, and of the output.
        norm: factory from a width to a module, or None for none.
        activation: factory of the non-linearity.

    Raises:
        ValueError: fewer than two sizes.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        norm: Callable[[int], nn.Module] | None = None,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"sizes is {list(sizes)}: it needs an input and an output width at least")
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for index, (narrow, wide) in enumerate(pairwise(sizes[:-1])):
            layers[f"linear{index}"] = nn.Linear(narrow, wide)
            if norm is not None:
                layers[f"norm{index}"] = norm(wide)
            layers[f"act{index}"] = activation()
        layers["head"] = nn.Linear(sizes[-2], sizes[-1])
        self.layers = nn.Sequential(layers)

    def forward(self, x: Float[Tensor, "batch *features"]) -> Float[Tensor, "batch classes"]:
        """Logits of a batch."""
        return self.layers(x)
