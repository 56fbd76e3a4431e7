"""`normkit bench` and `normkit env`: one JSON object, exit codes, one line on bad input."""

import json
import sys

import pytest
import torch

from normkit.cli import main
from normkit.kernels import native


@pytest.fixture
def normkit(monkeypatch, capsys):
    """Run the command line: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["normkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run


def test_json_is_one_object_and_out_holds_the_same_rows(normkit, tmp_path):
    code, out, _ = normkit("bench", "logsumexp", "--quick", "--threads", 1, "--json", "--out", tmp_path)
    assert code == 0
    found = json.loads(out)
    assert found["schema"] == 1
    assert found["results"] == json.loads((tmp_path / "bench.json").read_text())["results"]
    assert {"bench.json", "report.html", "roofline.svg", "roofline.png"} == {path.name for path in tmp_path.iterdir()}


def test_a_person_sees_the_users_view_first(normkit):
    code, out, _ = normkit("bench", "rms_norm", "--quick", "--threads", 1)
    assert code == 0
    assert out.index("As a network calls it") < out.index("Kernel by kernel")
    assert "above 1 we are faster" in out


def test_rows_of_growth_are_printed_once_with_their_exponents(normkit):
    code, out, err = normkit("bench", "private_queries", "--quick")
    assert (code, err) == (0, "")
    assert out.count("How the cost grows") == 1
    lines = [line.split() for line in out.splitlines() if line.startswith("  normkit")]
    sizes = list(dict.fromkeys(line[1] for line in lines[:-1]))  # a line for each peer
    assert sizes == ["100", "400", "1600"]
    assert lines[-1][1:4] == ["100", "to", "1600"]
    assert lines[-1][4].startswith("n^")


def test_cuda_without_a_gpu_is_skipped_and_exits_0(normkit):
    code, out, _ = normkit("bench", "softmax", "--device", "cuda", "--json")
    assert code == 0
    (row,) = json.loads(out)["results"]
    assert (row["status"], bool(row["reason"])) == ("skipped", True)


def test_against_exits_1_on_a_regression_and_prints_it_apart_from_the_json(normkit, tmp_path):
    assert normkit("bench", "rms_norm", "--quick", "--threads", 1, "--out", tmp_path)[0] == 0
    before = json.loads((tmp_path / "bench.json").read_text())
    for factor, wanted in ((0.01, 0), (100.0, 1)):
        for row in before["results"]:
            if row["ratio_median"] is not None:
                row["ratio_median"] *= factor
                row["ratio_ci"] = [end * factor for end in row["ratio_ci"]]
        path = tmp_path / f"before{wanted}.json"
        path.write_text(json.dumps(before))
        code, out, err = normkit("bench", "rms_norm", "--quick", "--threads", 1, "--json", "--against", path)
        assert code == wanted
        json.loads(out)
        assert ("regression" in err) is bool(wanted)
        before = json.loads((tmp_path / "bench.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "no benchmark is called 'nonsense': there are "),
        (["sotfmax"], "did you mean softmax or log_softmax?"),
        (["softmax", "--device", "tpu"], "device must be one of"),
        (["softmax", "--against", "missing.json"], "missing.json: no such file"),
        (["softmax", "--threads", "0"], "threads must be at least 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(normkit, arguments, says):
    code, out, err = normkit("bench", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)
def test_tune_leaves_the_thresholds_as_they_were(normkit):
    from normkit import _native

    before = _native.thresholds()
    code, out, _ = normkit("bench", "--tune", "--json")
    assert code == 0
    found = json.loads(out)["thresholds"]
    assert {"short_row", "scratch_row", "cache_bytes"} <= {each["name"] for each in found}
    assert all(each["gain"] >= 1.0 for each in found)
    crossed = json.loads(out)["crossovers"]
    assert {"softmax", "layer_norm", "group_norm"} <= {each["op"] for each in crossed}
    assert all(each["native"] > 0 and each["default"] > 0 for each in crossed)
    assert _native.thresholds() == before


def test_env_says_what_runs_and_what_is_missing(normkit):
    code, out, _ = normkit("env", "--json")
    assert code == 0
    found = json.loads(out)
    assert {"versions", "machine", "native", "kernels", "openmp_runtimes", "extras", "advice"} <= found.keys()
    code, out, _ = normkit("env")
    assert code == 0
    assert "native kernels" in out
    assert all(sentence.split()[0] in out for sentence in found["advice"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no GPU")
def test_tuning_a_gpu_that_is_not_there_exits_0_with_the_reason(normkit):
    code, out, _ = normkit("bench", "softmax", "--tune", "--device", "cuda", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["thresholds"], found["crossovers"], found["gpu"]["table"]) == ([], [], None)
    assert "CUDA" in found["gpu"]["skipped"]
    code, out, _ = normkit("bench", "--tune", "--device", "cuda")
    assert code == 0
    assert "nothing was measured" in out
    assert normkit("bench", "sotfmax", "--tune")[0] == 2
