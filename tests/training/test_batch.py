from collections import UserDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normkit.training import call, inputs_of, output_tensor, targets_of, unwrapped

X, Y = torch.ones(2, 3), torch.tensor([0, 1])


class ByName(nn.Module):
    """Takes its inputs by name, as Hugging Face models do; notes whether it was given labels."""

    def forward(self, ids: Tensor, mask: Tensor | None = None, labels: Tensor | None = None) -> dict[str, Any]:
        return {"logits": ids.float() if mask is None else ids * mask, "labelled": labels is not None}


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Anything(nn.Module):
    def forward(self, **named: Tensor) -> list[str]:
        return sorted(named)


def test_tensors_pairs_and_dicts_are_understood() -> None:
    for batch in (X, (X,), [X], (X, Y), [X, Y]):
        assert inputs_of(batch) is X
        assert torch.equal(call(Plain(), batch), 2 * X)
    assert targets_of((X, Y)) is Y
    assert targets_of(X) is targets_of((X,)) is None
    assert inputs_of({"x": X, "labels": Y}) == {"x": X}
    for name in ("labels", "label", "targets", "target", "y"):
        assert targets_of({"x": X, name: Y}) is Y
    assert targets_of({"x": X}) is None


def test_a_mapping_that_is_no_dict_is_understood() -> None:
    batch = UserDict(ids=X, labels=Y)  # Hugging Face's BatchEncoding is one
    assert targets_of(batch) is Y
    assert call(ByName(), batch)["labelled"]


def test_names_that_the_model_takes_are_passed_and_targets_only_then() -> None:
    assert call(ByName(), {"ids": X, "mask": torch.zeros(2, 3), "labels": Y})["logits"].sum() == 0
    assert torch.equal(call(Plain(), {"x": X, "labels": Y}), 2 * X)
    assert call(Anything(), {"a": X, "label": Y}) == ["a", "label"]


def test_one_input_under_another_name_has_a_clear_place() -> None:
    assert torch.equal(call(Plain(), {"pixels": X, "y": Y}), 2 * X)


def test_a_pair_may_hold_a_dict() -> None:
    assert torch.equal(call(ByName(), ({"ids": X}, Y))["logits"], X)


def test_several_unknown_inputs_are_refused() -> None:
    with pytest.raises(TypeError, match=r"the batch holds a, b, and Plain.forward takes x: pass forward="):
        call(Plain(), {"a": X, "b": X})


def test_forward_decides_where_it_is_given() -> None:
    assert call(Plain(), (1, 2, 3), lambda model, batch: model(torch.tensor(batch[2]))) == 6


@pytest.mark.parametrize(
    ("batch", "said"), [((X, X, Y), "a tuple of 3"), ("text", "a str"), (3, "a int"), ((1, 2), r"a tuple of 2 \(int")]
)
def test_other_batches_are_refused_with_the_way_out(batch: object, said: str) -> None:
    with pytest.raises(TypeError, match=rf"a batch is {said}.*pass forward="):
        inputs_of(batch)


def test_outputs_are_understood() -> None:
    @dataclass
    class Output:
        logits: Tensor

    @dataclass
    class Hidden:
        last_hidden_state: Tensor

    for output in (X, (X, "cache"), [X], {"logits": X, "loss": Y}, {"out": X}, Output(X), Hidden(X)):
        assert output_tensor(output) is X


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"a": X, "b": X}, "a dict with 'a', 'b'"),
        ({}, "a dict with nothing"),
        (None, "a NoneType"),
        ((), "a tuple of 0"),
    ],
)
def test_other_outputs_are_refused_with_the_way_out(output: object, said: str) -> None:
    with pytest.raises(TypeError, match=rf"the model returned {said}.*forward=.*loss="):
        output_tensor(output)


def test_wrappers_are_taken_off() -> None:
    from lightning_fabric import Fabric

    model = nn.Linear(3, 3)
    wrapped = Fabric(accelerator="cpu", devices=1).setup(model)
    assert unwrapped(wrapped) is model
    assert unwrapped(model) is model


def test_hugging_face_models_take_their_batches() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.randint(11, (2, 5))
    batch = transformers.BatchEncoding({"input_ids": ids, "labels": ids})
    output = call(model, batch)
    assert output_tensor(output).shape == (2, 5, 11)
    assert output.loss.ndim == 0
    assert output_tensor(call(model.transformer, batch)).shape == (2, 5, 8)
