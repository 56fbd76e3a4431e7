"""`bench`: every suite runs, its rows are the JSON object that was promised, two runs compare."""

import json
import math
from dataclasses import replace

import pytest
import torch

from normkit.benchmarks import Record, Scene, Table, bench, suites
from normkit.benchmarks._harness.roof import cache_class, copies, last_level_bytes
from normkit.benchmarks._harness.scene import Effort, time_scene

PROMISED = {
    *("op", "variant", "shape", "dtype", "threads", "mode", "cache", "output", "min_ns", "median_ns", "p10", "p90"),
    *("bytes", "gbps", "copy_fraction", "ratio_to", "ratio_median", "ratio_ci", "max_ulp", "status", "reason"),
    *("bar", "met", "device", "clock", "peak_bytes", "time_exponent", "memory_exponent", "limits"),
}
MACHINE = [
    *("cpu", "isa", "active_isa", "cores", "caches", "thp", "torch", "triton", "gpu", "driver", "clocks", "normkit"),
    "git",
]
LEAST = Effort(short_rounds=2, long_rounds=2, min_seconds=1e-6, retries=0)


@pytest.fixture(scope="module")
def quick():
    return bench("softmax", quick=True, threads=[1])


@pytest.mark.parametrize("suite", suites(), ids=lambda suite: suite.op)
def test_every_suite_is_right_in_every_mode(suite):
    shape = suite.quick_shapes[0]
    modes = ("fwd", "bwd", "fwd+bwd") if suite.forward else ("fwd+bwd",)
    for mode in modes:
        records = time_scene(suite, Scene(shape, mode=mode, kernels=True), effort=LEAST)
        mine = [record for record in records if record.variant == "normkit"]
        assert mine
        assert all(record.status in ("ok", "noisy") for record in mine), mine[0].reason
        assert all(record.ratio_to and record.ratio_median > 0 for record in mine)
        assert not [record for record in records if record.status == "wrong"]


def test_suites_are_found_by_listing_and_steps_come_first():
    found = [suite.op for suite in suites()]
    assert {"softmax", "log_softmax", "logsumexp", "layer_norm", "rms_norm", "crms_norm"} <= set(found)
    assert found[:2] == ["gpt2_step", "resnet_step"]


def test_the_json_object_is_the_one_promised(quick):
    found = json.loads(json.dumps(quick.to_dict(), allow_nan=False))
    assert found["schema"] == 1
    assert set(found) == {"schema", "versions", "device", "seconds", "machine", "results"}
    assert list(found["machine"]) == MACHINE
    assert all(set(row) == PROMISED for row in found["results"])
    assert {row["status"] for row in found["results"]} <= {"ok", "noisy", "skipped"}


def test_every_row_of_ours_has_a_ratio_to_a_peer(quick):
    ours = [record for record in quick if record.ours and record.status in ("ok", "noisy")]
    assert ours
    for record in ours:
        low, high = record.ratio_ci
        assert low <= record.ratio_median <= high
        assert record.ratio_to
        assert record.min_ns <= record.p10 <= record.median_ns <= record.p90


def test_the_users_view_comes_first(quick):
    assert (quick.records[0].variant, quick.records[0].mode, quick.records[0].output) == ("normkit", "fwd+bwd", "fresh")


def test_out_holds_json_roofline_and_page(quick, tmp_path):
    folder = quick.save(tmp_path / "new" / "folder")
    assert {path.name for path in folder.iterdir()} == {"bench.json", "roofline.png", "roofline.svg", "report.html"}
    again = Table.read(folder / "bench.json")
    assert again.records == quick.records
    assert "How near the machine" in (folder / "report.html").read_text(encoding="utf-8")
    assert (folder / "roofline.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no GPU")
def test_without_a_gpu_cuda_is_skipped_with_the_reason():
    table = bench(["softmax", "rms_norm"], device="cuda")
    assert [(record.op, record.status) for record in table] == [("rms_norm", "skipped"), ("softmax", "skipped")]
    assert all("CUDA" in record.reason for record in table)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"names": ["sotfmax"]}, "no benchmark is called 'sotfmax': did you mean softmax"),
        ({"device": "tpu"}, "cpu, cuda, all, got 'tpu'"),
        ({"threads": [0]}, "threads must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        bench(**options)


def row(ratio, low, high, **changes):
    blank = Record("toy", "normkit", [4, 8], "float32", 1, "fwd", "in", "reused", ratio_to="torch")
    return replace(blank, ratio_median=ratio, ratio_ci=[low, high], **changes)


@pytest.mark.parametrize(
    ("before", "after", "regression"),
    [
        ((2.0, 1.9, 2.1), (1.5, 1.4, 1.6), True),
        ((2.0, 1.9, 2.1), (1.85, 1.8, 1.88), False),  # less than 10 %
        ((2.0, 1.5, 2.5), (1.5, 1.4, 1.6), False),  # the intervals meet
        ((2.0, 1.9, 2.1), (3.0, 2.9, 3.1), False),
    ],
)
def test_a_regression_is_beyond_ten_percent_and_outside_both_intervals(before, after, regression):
    (change,) = Table((row(*after),), {}).against(Table((row(*before),), {}))
    assert change.regression is regression
    assert (change.before, change.after) == (before[0], after[0])


def test_only_the_same_setting_is_compared_and_regressions_come_first():
    before = Table((row(2.0, 1.9, 2.1), row(2.0, 1.9, 2.1, threads=2), row(2.0, 1.9, 2.1, op="gone")), {})
    after = Table((row(2.0, 1.9, 2.1), row(1.0, 0.9, 1.1, threads=2), row(1.0, 0.9, 1.1, op="new")), {})
    assert [change.regression for change in after.against(before)] == [True, False]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": [{"op": "softmax"}], "machine": {}}'])
def test_a_file_that_is_no_bench_is_named(tmp_path, text):
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(ValueError, match="normkit bench"):
        Table.read(tmp_path / "bench.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file; a bench"):
        Table.read(tmp_path / "none.json")


def test_cache_classes_follow_the_last_level():
    size = last_level_bytes(2)
    assert [cache_class(bytes_, 2) for bytes_ in (256 * 1024, 256 * 1024 + 1, 4 * size)] == ["in", "l3", "out"]


def test_copies_copy():
    source = torch.randn(100, 7)
    for threads, names in ((1, ["copy", "copy/streaming"]), (2, ["copy"])):
        found = copies(source, threads)
        assert list(found) == names
        for call in found.values():
            call()


def test_necessary_bytes_follow_mode_and_dtype():
    softmax = next(suite for suite in suites() if suite.op == "softmax")
    elements = math.prod((64, 256))
    for dtype, mode, per_element in (
        (torch.float32, "fwd", 8),
        (torch.float32, "bwd", 12),
        (torch.float32, "fwd+bwd", 20),
        (torch.bfloat16, "fwd", 4),
    ):
        scene = Scene((64, 256), mode=mode, dtype=dtype)
        assert softmax.necessary_bytes(scene, softmax.make(scene, 0)) == per_element * elements
