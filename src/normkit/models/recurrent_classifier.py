"""A recurrent layer that reads a whole sequence, and a linear layer on its last state."""

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["RecurrentClassifier"]


class RecurrentClassifier(nn.Module):
    """Classes of sequences: y = W h_T + b, h_T the last step's output of a recurrent layer.

    Args:
        layer: a recurrent layer of `torch.nn` or `normkit.nn` with `batch_first`, in one direction.
        classes: C, how many there are.

    Shape:
        (B, T, I) → (B, C).

    Raises:
        ValueError: the layer is not `batch_first`, or reads in two directions, whose last step has read one entry.
    """

    def __init__(self, layer: nn.RNNBase, classes: int = 10) -> None:
        super().__init__()
        if not layer.batch_first or layer.bidirectional:
            raise ValueError(
                f"the layer must have batch_first=True and bidirectional=False, got "
                f"batch_first={layer.batch_first}, bidirectional={layer.bidirectional}"
            )
        self.layer = layer
        self.head = nn.Linear(layer.proj_size or layer.hidden_size, classes)

    def forward(self, x: Float[Tensor, "batch time input"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        output, _ = self.layer(x)
        logits = self.head(output[:, -1])
        assert isinstance(logits, Tensor)
        return logits
