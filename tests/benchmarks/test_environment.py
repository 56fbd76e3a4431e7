"""`environment`: it says what is there, and its advice follows from what it found."""

import json

import pytest
import torch

from normkit.benchmarks import environment
from normkit.benchmarks._harness.environment import advice
from normkit.report import jsonable

FINE = {
    "native": {"usable": True, "reason": ""},
    "openmp_runtimes": ["/usr/lib/libgomp.so.1"],
    "threads": 2,
    "machine": {"cores": 2, "thp": "always"},
    "extras": {"text": []},
}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("NORMKIT_DISABLE_KERNELS", raising=False)
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)


def test_it_is_json_and_complete():
    found = environment()
    json.dumps(jsonable(found), allow_nan=False)
    assert set(found) == {
        "versions",
        "machine",
        "threads",
        "native",
        "openmp_runtimes",
        "kernels",
        "extras",
        "advice",
    }
    assert found["threads"] == torch.get_num_threads()
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0] or found["versions"]["torch"]
    assert any(row["op"] == "softmax" for row in found["kernels"])
    assert found["native"]["usable"] or found["native"]["reason"]


def test_nothing_to_say_where_all_is_well():
    assert advice(FINE) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"native": {"usable": False, "reason": "no compiler was found"}}, "native kernels are missing.*no compiler"),
        ({"openmp_runtimes": ["/a/libgomp.so.1", "/b/libiomp5.so"]}, "Several OpenMP runtimes.*libgomp.*libiomp5"),
        ({"threads": 1}, "torch uses 1 of 2 cores"),
        ({"machine": {"cores": 2, "thp": "never"}}, "Huge pages are off"),
        ({"machine": {"cores": 2, "thp": "madvise"}}, "THP_MEM_ALLOC_ENABLE=1"),
        ({"extras": {"text": ["transformers"]}}, r'lacks transformers: pip install "normkit\[text\]"'),
    ],
)
def test_advice_follows_from_what_was_found(change, says):
    import re

    (sentence,) = advice({**FINE, **change})
    assert re.search(says, sentence)


def test_kernels_switched_off_by_the_environment_are_said(monkeypatch):
    monkeypatch.setenv("NORMKIT_DISABLE_KERNELS", "native")
    assert "NORMKIT_DISABLE_KERNELS=native" in advice(FINE)[0]
