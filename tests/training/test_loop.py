import os
import signal
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from normkit import data
from normkit.training import checkpoint as checkpoints
from normkit.training import fit, warmup_cosine

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
Y = (X.sum(1) > 0).long()


def network(seed: int = 0) -> nn.Module:
    """With dropout and running statistics, so that a resumed run has something to get wrong."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))


def loader(**options: Any) -> DataLoader[tuple[Tensor, Tensor]]:
    return data.batches(X, Y, 8, **options)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(one, two) for one, two in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_learns_and_says_what_it_did() -> None:
    model = network()
    seen: list[tuple[int, float, bool]] = []
    history = fit(
        model,
        loader(),
        steps=60,
        optimizer=lambda p: torch.optim.SGD(p, 0.2),
        callback=lambda *a: seen.append((*a[:2], a[2] is model)),
    )
    assert history.steps == 60
    assert history.resumed_from is None
    assert history.seconds > 0
    assert seen == [(step, loss, True) for step, loss in enumerate(history.losses)]
    assert sum(history.losses[-10:]) < 0.7 * sum(history.losses[:10])


def test_it_is_the_loop_that_one_would_write() -> None:
    ours, plain = network(), network()
    plain[3].p = ours[3].p = 0.0
    make = lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)  # noqa: E731
    history = fit(ours, loader(seed=5), epochs=2, optimizer=make, clip=0.5, schedule=warmup_cosine())
    optimizer, batches = make(plain.parameters()), loader(seed=5)
    losses = []
    for step, (x, y) in enumerate(chain(batches, batches)):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * warmup_cosine()(step, 10)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(plain(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    assert same(ours, plain)
    assert history.losses == losses


def test_the_default_budget_is_one_epoch() -> None:
    assert fit(network(), loader()).steps == 5
    assert fit(network(), loader(), epochs=3).steps == 15


def test_the_seed_decides_and_the_callers_randomness_is_left_alone() -> None:
    before = torch.get_rng_state()
    runs = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        runs[name] = network()
        torch.set_rng_state(before)
        fit(runs[name], loader(), steps=8, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
    assert same(runs["a"], runs["b"])
    assert not same(runs["a"], runs["c"])


def test_float64_and_bfloat16() -> None:
    model = network().double()
    fit(model, data.batches(X.double(), Y, 8), steps=2)
    assert model[0].weight.dtype == torch.float64
    low = network()
    fit(low, loader(), steps=2, precision="bf16-mixed")
    assert low[0].weight.dtype == torch.float32
    assert not same(low, network())


def test_frozen_parameters_stay() -> None:
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    fit(model, loader(), steps=3)
    assert torch.equal(model[0].weight, before)


def test_loss_and_forward_of_the_users_own() -> None:
    model = nn.Linear(6, 1)
    batches = [{"a": X, "b": X.sum(1, keepdim=True), "c": 1}]
    history = fit(
        model,
        batches,
        steps=200,
        forward=lambda model, batch: model(batch["a"]),
        loss=lambda output, batch: (output - batch["b"]).square().mean(),
        optimizer=lambda p: torch.optim.SGD(p, 0.2),
    )
    assert history.losses[-1] < 1e-3


# -------------------------------------------------------------------------------------------------- resuming


class GlobalOrder(IterableDataset[tuple[Tensor, Tensor]]):
    """Its order comes from torch's global generator."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(40).split(8):
            yield X[index], Y[index]


LOADERS = {
    "own generator": loader,
    "global generator": lambda: DataLoader(TensorDataset(X, Y), 8, shuffle=True),
    "list": lambda: [(X[:20], Y[:20]), (X[20:], Y[20:]), (X[::2], Y[::2])],
    "iterable data set": lambda: DataLoader(GlobalOrder(), batch_size=None),
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, amsgrad=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("stop", [3, 5, 12])
def test_a_run_that_was_stopped_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, kind: str, optimizer: str, stop: int
) -> None:
    options: dict[str, Any] = {
        "steps": 17,
        "optimizer": OPTIMIZERS[optimizer],
        "schedule": warmup_cosine(),
        "clip": 1.0,
    }
    whole = network()
    expected = fit(whole, LOADERS[kind](), **options)

    def interrupt(step: int, loss: float, model: nn.Module) -> None:
        if step == stop - 1:
            raise KeyboardInterrupt

    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), LOADERS[kind](), checkpoint=path, callback=interrupt, **options)
    model = network(seed=9)
    history = fit(model, LOADERS[kind](), checkpoint=path, **options)
    assert history.resumed_from == stop
    assert history.losses == expected.losses
    assert same(model, whole)
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_control_c_ends_the_step_and_saves(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    done: list[int] = []

    def loss(output: Tensor, batch: Any) -> Tensor:
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGINT)  # in the middle of step 3
        return nn.functional.cross_entropy(output, batch[1])

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(network(), loader(), steps=50, loss=loss, checkpoint=path, callback=lambda step, *_: done.append(step))
    assert done == [0, 1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is before
    header, _ = checkpoints.read(path)
    assert header["progress"]["step"] == 4


def test_a_step_that_is_half_done_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"

    def loss(output: Tensor, batch: Any) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(network(), loader(), steps=5, loss=loss, checkpoint=path)
    assert os.listdir(tmp_path) == []


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    model = network()
    first = fit(model, loader(), steps=6, checkpoint=path)
    again = network(seed=3)
    second = fit(again, loader(), steps=6, checkpoint=path)
    assert second.resumed_from == 6
    assert second.losses == first.losses
    assert same(again, model)
    third = network(seed=3)
    assert fit(third, loader(), steps=6, checkpoint=path, resume=False).resumed_from is None
    assert not same(third, model)


def test_a_checkpoint_of_other_data_is_named(tmp_path: Path) -> None:
    fit(network(), loader(), steps=4, checkpoint=tmp_path / "a")
    with pytest.raises(ValueError, match="stands at batch 4 of a pass, and the data yield 1"):
        fit(network(), [(X, Y)], steps=8, checkpoint=tmp_path / "a")


def test_tied_weights_survive_a_checkpoint(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
        model[1].weight = model[0].weight
        return model

    model, again = tied(), tied()
    fit(model, loader(), steps=4, checkpoint=tmp_path / "a")
    fit(again, loader(), steps=4, checkpoint=tmp_path / "a")
    assert same(model, again)
    assert again[1].weight is again[0].weight


# ------------------------------------------------------------------------------------------------- bad input


def corrupt(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "garbage":
        path.write_bytes(b"\x80\x04not a checkpoint" * 10)
    elif kind == "empty":
        path.write_bytes(b"")
    else:  # a whole safetensors file that is no checkpoint of ours
        header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")


@pytest.mark.parametrize("kind", ["cut", "garbage", "empty", "foreign"])
def test_a_corrupt_checkpoint_is_one_clear_error_and_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run.safetensors"
    fit(network(), loader(), steps=2, checkpoint=path)
    corrupt(path, kind)
    content = path.read_bytes()
    model = network()
    with pytest.raises(ValueError, match=r"run.safetensors is not a whole training checkpoint.*resume=False"):
        fit(model, loader(), steps=4, checkpoint=path)
    assert path.read_bytes() == content
    assert same(model, network())
    assert os.listdir(tmp_path) == ["run.safetensors"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": nn.Sequential(nn.Linear(6, 3))}, r"of another model: '.*' is in only one"),
        ({"optimizer": lambda p: torch.optim.Adagrad(p)}, "holds the state of AdamW, and this run uses Adagrad"),
        ({"optimizer": lambda p: torch.optim.AdamW([{"params": p[:1]}, {"params": p[1:]}])}, "other parameter groups"),
    ],
)
def test_a_checkpoint_of_another_run_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "run.safetensors"
    fit(network(), loader(), steps=2, checkpoint=path)
    arguments = {"model": network(), "batches": loader(), "steps": 4, "checkpoint": path, **change}
    with pytest.raises(ValueError, match=said):
        fit(**arguments)


def test_a_checkpoint_of_another_shape_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    fit(nn.Linear(6, 2), loader(), steps=2, checkpoint=path)
    with pytest.raises(ValueError, match=r"weight is \(2, 6\) there, \(3, 6\) here"):
        fit(nn.Linear(6, 3), loader(), steps=4, checkpoint=path)


def test_a_folder_that_cannot_be_written_is_found_out_before_the_first_step(tmp_path: Path) -> None:
    model = network()
    for path in (tmp_path / "nowhere" / "run.safetensors", tmp_path):
        with pytest.raises(OSError, match=r"cannot be written|is a folder"):
            fit(model, loader(), steps=2, checkpoint=path)
    assert same(model, network())


def test_a_loss_that_is_not_finite_names_its_step() -> None:
    calls: list[int] = []

    def loss(output: Tensor, batch: Any) -> Tensor:
        calls.append(1)
        return output.mean() * (float("nan") if len(calls) == 4 else 1.0)

    with pytest.raises(FloatingPointError, match="the loss is nan at step 3: lower the learning rate"):
        fit(network(), loader(), steps=9, loss=loss)


def test_a_diverged_run_leaves_its_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    fit(network(), loader(), steps=2, checkpoint=path)
    content = path.read_bytes()
    with pytest.raises(FloatingPointError):
        fit(network(), loader(), steps=4, checkpoint=path, loss=lambda output, batch: output.mean() / 0)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "batches", [[], data.batches(X, Y, 64, drop_last=True), iter([]), DataLoader(TensorDataset(X[:0], Y[:0]), 4)]
)
def test_data_that_yield_nothing_are_named(batches: Any) -> None:
    with pytest.raises(ValueError, match="the data yields no batch"):
        fit(network(), batches, steps=2)


def test_a_generator_that_ends_early_is_named() -> None:
    with pytest.raises(ValueError, match="the data ended after 3 steps: it is a generator"):
        fit(network(), (batch for batch in [(X, Y)] * 3), steps=5)
    assert fit(network(), (batch for batch in [(X, Y)] * 3), steps=3).steps == 3


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"steps": 1, "epochs": 1}, "both given"),
        ({"steps": 0}, "the budget is 0 steps"),
        ({"epochs": -1}, "at least 1"),
    ],
)
def test_a_budget_that_is_none_is_named(budget: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(network(), loader(), **budget)


def test_epochs_of_data_without_a_length_are_refused() -> None:
    for batches in (iter([(X, Y)]), DataLoader(GlobalOrder(), batch_size=None)):
        with pytest.raises(ValueError, match="pass steps="):
            fit(network(), batches, epochs=1)


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to train"):
        fit(network().requires_grad_(False), loader())
    with pytest.raises(ValueError, match="a label is 7, and the model has 2 outputs"):
        fit(network(), [(X, Y + 6)])
    with pytest.raises(ValueError, match=r"the loss has shape \(40, 2\)"):
        fit(network(), [(X, Y)], loss=lambda output, batch: output)
    with pytest.raises(ValueError, match="use strategy='ddp'"):
        fit(network(), loader(), strategy="fsdp", checkpoint=tmp_path / "a")


def test_a_model_that_returns_a_dict_is_named() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": self.inner(x), "b": x}

    with pytest.raises(TypeError, match=r"the model returned a dict with 'a', 'b'.*loss="):
        fit(Two(), [(X, Y)])


def test_the_bar_is_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    fit(network(), loader(), steps=2, progress="counting")
    assert capsys.readouterr().out == ""


def test_numpy_is_left_alone() -> None:
    state = np.random.get_state()[1].copy()
    fit(network(), loader(), steps=2)
    assert np.array_equal(np.random.get_state()[1], state)
