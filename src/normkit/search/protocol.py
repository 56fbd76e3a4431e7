"""How much a candidate must show, and when it is thrown away."""

import math
from dataclasses import dataclass, replace

__all__ = ["PAPER", "Protocol"]


@dataclass(frozen=True)
class Protocol:
    """Budgets and thresholds of a candidate's test; the defaults fit networks of a second or so on one core.

    Args:
        groups: for moments over groups of channels.
        signal_samples: a fresh network must tell so many samples apart …
        spread: … by a deviation of its logits inside these bounds.
        steps, batch_size: of a training.
        lr: peak learning rate of SGD with Nesterov momentum 0.9; linear warm-up, then a cosine.
        warmup: steps of warm-up.
        abort_step: after so many steps …
        abort_loss: … the loss, a mean over the last ten, must have come below this share of ln(number of classes).
        quality: a candidate is rejected whose accuracy has not come so far from chance (0) to perfect (1); with ten
            classes 1/9 is the paper's 20 %.
        stability_steps: gradient ascents on the norm of the weights' gradient …
        stability_rate: … by this rate …
        stability_samples: … on so many samples …
        stability_norm: … must not bring it above this.

    Raises:
        ValueError: a count that is not positive.
    """

    groups: int = 4
    signal_samples: int = 16
    spread: tuple[float, float] = (0.02, 50.0)
    steps: int = 60
    batch_size: int = 32
    lr: float = 0.05
    warmup: int = 10
    abort_step: int = 25
    abort_loss: float = 2.27 / math.log(10)
    quality: float = 1 / 9
    stability_steps: int = 20
    stability_rate: float = 0.1
    stability_samples: int = 16
    stability_norm: float = 1e8

    def __post_init__(self) -> None:
        for name in ("groups", "signal_samples", "steps", "batch_size", "stability_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")

    def longer(self) -> "Protocol":
        """The budget of a second look: batches of twice the size, and two thirds more steps."""
        return replace(self, steps=math.ceil(self.steps * 5 / 3), batch_size=2 * self.batch_size)


PAPER = Protocol(steps=100, batch_size=128, stability_steps=100)
"""Liu et al. (2020), section 3.2: 100 steps of training, 100 of ascent (the rest as above)."""
