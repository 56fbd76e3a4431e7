"""The recurrent runs of Layer Normalization: what the scale of recurrent weights does, and digits read as sequences."""

from typing import Any

import torch
from torch import Tensor, nn

from normkit import data, training
from normkit.diagnosis.hidden_dynamics import saturated_share, through_time
from normkit.models import RecurrentClassifier
from normkit.nn import LayerNormLSTM, LayerNormRNN
from normkit.papers import Context, Ledger, Records, Show

__all__ = ["SETTINGS", "digit_sequences", "dynamics", "judge_recurrent"]

UNITS = 64
SCALES = (0.5, 1.0, 2.0, 4.0)
SETTINGS = ((1e-3, 1.0), (1e-3, 4.0), (3e-3, 1.0), (3e-3, 4.0))
"""Learning rate, and what an orthogonal recurrent matrix is multiplied with."""


def dynamics(ctx: Context) -> list[dict[str, Any]]:
    """A tanh network fed with noise: the share of saturated units and ‖∂L/∂h₀‖ by the recurrent weights' scale."""
    steps, cases = ctx.pick(smoke=10, embedded=100), ctx.pick(smoke=4, embedded=32)
    figures = []
    for scale in SCALES:
        for norm in ("none", "LN"):
            draw = ctx.generator()
            net = LayerNormRNN(UNITS, UNITS, bias=False, layer_norm=norm == "LN", dtype=torch.float64)
            with torch.no_grad():
                nn.init.normal_(net.get_parameter("weight_ih_l0"), std=UNITS**-0.5, generator=draw)
                nn.init.normal_(net.get_parameter("weight_hh_l0"), std=scale * UNITS**-0.5, generator=draw)
            x = torch.randn(steps, cases, UNITS, generator=draw, dtype=torch.float64)
            found = through_time(net, x)
            assert isinstance(found.output, Tensor)
            saturated = saturated_share(found.output[-1])
            figures.append({"scale": scale, "norm": norm, "saturated": saturated, "gradient": found.gradient})
    return figures


def _reader(norm: str, scale: float, hidden: int = 32) -> RecurrentClassifier:
    """The same weights with and without norms: orthogonal recurrent matrix times `scale`, gate by gate."""
    plain = nn.LSTM(2, hidden, batch_first=True)
    with torch.no_grad():
        for gate in plain.get_parameter("weight_hh_l0").split(hidden):
            nn.init.orthogonal_(gate, gain=scale)
    model = RecurrentClassifier(plain)
    if norm == "LN":
        model.layer = LayerNormLSTM.from_torch(plain)
    return model


def digit_sequences(ctx: Context) -> list[dict[str, Any]]:
    """Training loss at the end and test accuracy of LSTM and LN-LSTM, digits read as 32 steps of 2 pixels."""
    steps = ctx.pick(smoke=2, embedded=250)
    x_train, y_train, x_test, y_test = data.digits("unit")
    x_train, x_test = (x.flatten(1).unflatten(1, (-1, 2)) for x in (x_train, x_test))
    figures = []
    for lr, scale in ctx.pick(smoke=SETTINGS[-1:], embedded=SETTINGS):
        for norm in ("none", "LN"):
            torch.manual_seed(ctx.seed)
            model = _reader(norm, scale)
            history = training.fit(
                model,
                data.batches(x_train, y_train, 32, seed=ctx.seed, drop_last=True),
                steps=steps,
                optimizer=lambda p, lr=lr: torch.optim.Adam(p, lr),
                clip=1.0,
                seed=ctx.seed,
            )
            last = history.losses[-20:]
            accuracy = training.accuracy(model, x_test, y_test)
            found = {"loss": sum(last) / len(last), "accuracy": accuracy, "losses": history.losses[::5]}
            figures.append({"lr": lr, "weights": scale, "norm": norm, **found})
    return figures


def judge_recurrent(records: Records, claim: Ledger, show: Show) -> None:
    """Saturation and gradients by the scale of the weights, then the four settings of the digits."""
    _judge_dynamics(records.where(run="dynamics"), claim, show)
    _judge_digits(records.where(run="digit_sequences"), claim, show)


def _judge_dynamics(records: Records, claim: Ledger, show: Show) -> None:
    source = "section 3.1 (what a recurrent net does without norm), bars of this project"
    claim(
        "share of saturated units in a tanh RNN with LN after 100 steps, worst recurrent scale in 0.5 … 4",
        records.largest("saturated", norm="LN"),
        at_most=0.02,
        source=source,
    )
    with_norm, without = (records.values("gradient", norm=norm, scale=4.0) for norm in ("LN", "none"))
    claim("norm of ∂L/∂h₀ through 100 steps at scale 4, with LN, worst", max(with_norm), at_most=1e6, source=source)
    claim("norm of ∂L/∂h₀ through 100 steps at scale 4, without norm", min(without), at_least=1e12, source=source)
    rows = [
        [
            scale,
            norm,
            f"{100 * g.mean('saturated'):.1f} %",
            f"{g.smallest('gradient'):.1e}",
            f"{g.largest('gradient'):.1e}",
        ]
        for (scale, norm), g in records.groups("scale", "norm").items()
    ]
    headers = ["recurrent scale", "norm", "saturated units", "smallest ‖∂L/∂h₀‖", "largest"]
    show.table(headers, rows, caption="A tanh network of 64 units after 100 steps of noise, over the seeds")


def _judge_digits(records: Records, claim: Ledger, show: Show) -> None:
    source = "section 6 (LN-LSTM and LN-GRU learn faster), at the size of the digits"
    for lr, scale in records.groups("lr", "weights"):
        with_norm, without = (records.mean("loss", norm=norm, lr=lr, weights=scale) for norm in ("LN", "none"))
        claim(
            f"LN-LSTM: final loss over the plain LSTM's at rate {lr:g} and recurrent scale {scale:g}",
            with_norm / without,
            at_most=1.0,
            source=source,
        )
    lr, scale = SETTINGS[-1]
    with_norm, without = (records.mean("accuracy", norm=norm, lr=lr, weights=scale) for norm in ("LN", "none"))
    ahead = with_norm - without
    claim(
        "LN-LSTM: test accuracy above the plain LSTM's at rate 3e-3 and recurrent scale 4",
        ahead,
        at_least=0.15,
        source=source,
    )
    claim(
        "LN reaches the plain network's best validation in this share of its time",
        at_most=0.6,
        source="section 6.1 (order embeddings)",
        reason="needs a real sequence task of that size (image and caption retrieval)",
    )
    rows = [
        [lr, scale, norm, g.mean("loss"), g.mean("accuracy"), g.smallest("accuracy"), g.largest("accuracy")]
        for (lr, scale, norm), g in records.groups("lr", "weights", "norm").items()
    ]
    headers = ["rate", "recurrent scale", "norm", "final loss", "test accuracy", "smallest", "largest"]
    show.table(headers, rows, caption="Digits as 32 steps of 2 pixels; loss of the last 20 steps, mean over the seeds")

    def draw(axes: Any) -> None:
        for norm, label in (("none", "LSTM"), ("LN", "LN-LSTM")):
            curves = records.values("losses", norm=norm, lr=lr, weights=scale)
            mean = [sum(step) / len(step) for step in zip(*curves, strict=True)]
            axes.plot([5 * place for place in range(len(mean))], mean, label=label)
        axes.set(xlabel="step", ylabel="training loss")
        axes.legend()

    show.figure(
        draw, caption="Training at rate 3e-3, recurrent scale 4, mean of the seeds", alt="LN-LSTM learns faster"
    )
