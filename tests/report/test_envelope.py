"""Every JSON object carries schema, versions, device and seconds, and JSON can hold all of it."""

import dataclasses
import json

import numpy as np
import torch

from normkit.report import envelope, jsonable, machine, versions


@dataclasses.dataclass
class _Thing:
    a: int
    b: torch.Tensor


def test_envelope_keeps_the_payload_and_adds_its_four_keys() -> None:
    made = envelope({"claims": [1.0, float("nan")]}, seconds=1.23456, device="cpu")
    assert {"schema", "versions", "device", "seconds", "claims"} == made.keys()
    assert made["claims"] == [1.0, "nan"]
    assert made["seconds"] == 1.235
    json.dumps(made, allow_nan=False)


def test_jsonable_knows_the_values_that_results_hold() -> None:
    value = {
        1: _Thing(2, torch.tensor([1.5])),
        "s": {3, 1},
        "n": np.float32(0.5),
        "a": np.arange(2),
        "t": (float("inf"),),
    }
    assert jsonable(value) == {"1": {"a": 2, "b": [1.5]}, "s": [1, 3], "n": 0.5, "a": [0, 1], "t": ["inf"]}


def test_versions_and_machine_say_what_decides_a_figure() -> None:
    assert {"normkit", "python", "torch", "numpy"} <= versions().keys()
    assert machine()["cores"] >= 1
