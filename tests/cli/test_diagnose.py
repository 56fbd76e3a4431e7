"""`normkit diagnose` as a person calls it: own models, loaders of every shape, exit codes, one line for bad input."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from normkit.cli import main

MODELS = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.down(x))


def resnet():
    torch.manual_seed(0)
    return nn.Sequential(Block(3, 8, 1), Block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def pictures():
    torch.manual_seed(1)
    smooth = nn.functional.interpolate(torch.randn(64, 3, 2, 2), size=16, mode="bilinear")  # as pictures are
    return DataLoader(TensorDataset(smooth, torch.arange(64) % 10), batch_size=2)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def dicts():
    return [{"features": torch.randn(16, 8), "labels": torch.arange(16) % 3} for _ in range(4)]


def wide():
    return [(torch.randn(4, 9), torch.zeros(4, dtype=torch.long))]


def empty():
    return []


def answers():
    class Answers(nn.Module):
        def forward(self, x):
            return {"a": x, "b": x}

    return Answers()


def no_model():
    return 3


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(**sizes))


def tokens():
    from transformers import BatchEncoding

    torch.manual_seed(2)
    ids = torch.randint(50, (4, 2, 12))
    mask = torch.ones(2, 12, dtype=torch.long)
    return [BatchEncoding({"input_ids": each, "attention_mask": mask, "labels": each}) for each in ids]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODELS, encoding="utf-8")
    return tmp_path


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def diagnose(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`normkit diagnose …` within this process, in the folder of the models."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    monkeypatch.delitem(sys.modules, "mine", raising=False)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["normkit", "diagnose", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        return Done(int(exit_.value.code or 0), *capfd.readouterr())

    return run


def _payload(done: Done) -> dict[str, Any]:
    assert done.returncode in (0, 3), done.stderr
    payload: dict[str, Any] = json.loads(done.stdout)
    return payload


def _severities(payload: dict[str, Any]) -> dict[str, str]:
    return {finding["probe"]: finding["severity"] for finding in payload["findings"]}


def test_a_resnet_as_users_write_it_with_pairs(folder: Path, diagnose: Run) -> None:
    done = diagnose("--model", "mine:resnet", "--data", "mine:pictures", "--json", "--max-batches", "32")
    payload = _payload(done)
    assert _severities(payload)["batch-noise"] == "act"
    assert payload["findings"][0]["remedies"][0]["shell"].startswith("normkit convert --model mine:resnet ")
    assert (folder / "normkit-report" / "report.html").is_file()
    assert {"schema", "versions", "device", "seconds", "treatment"} <= payload.keys()


def test_a_plain_mlp_with_dicts(folder: Path, diagnose: Run) -> None:
    assert set(_severities(_payload(diagnose("--model", "mine:mlp", "--data", "mine:dicts", "--json"))).values()) == {
        "ok"
    }


def test_gpt2_with_hugging_face_batches(folder: Path, diagnose: Run) -> None:
    pytest.importorskip("transformers")
    done = diagnose("--model", "mine:gpt2", "--data", "mine:tokens", "--json")
    severities = _severities(_payload(done))
    assert severities["redundant-mean"] == "act"
    assert severities["variance-growth"] == severities["precision"] == severities["batch-noise"] == "ok"


def test_treat_saves_the_model_and_shows_before_and_after(folder: Path, diagnose: Run) -> None:
    arguments = ("--model", "mine:resnet", "--data", "mine:pictures", "--max-batches", "32", "--treat", "--json")
    done = diagnose(*arguments, "--out", "out", "--remedy", "batch-channel-norm")
    treatment = _payload(done)["treatment"]
    assert treatment["to"] == "batch-channel-norm"
    assert [s["path"] for s in treatment["before"]["sites"]] == [s["path"] for s in treatment["after"]["sites"]]
    assert treatment["after"]["figure"] < treatment["before"]["figure"]
    names = {str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*") if path.is_file()}
    assert names == {"report.html", "treated/model.safetensors", "treated/recipe.json"}
    again = diagnose(*arguments, "--out", "out")
    assert again.returncode == 2
    assert "holds a treated model already" in again.stderr


@pytest.mark.parametrize(("grave", "code"), [("act", 3), ("watch", 3)])
def test_fail_on(diagnose: Run, grave: str, code: int) -> None:
    done = diagnose("--model", "mine:resnet", "--data", "mine:pictures", "--json", "--fail-on", grave)
    assert done.returncode == code
    healthy = diagnose("--model", "mine:mlp", "--data", "mine:dicts", "--fail-on", grave)
    assert healthy.returncode == 0
    assert "report: " in healthy.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "mine:missing", "--data", "mine:dicts"), "missing"),
        (("--model", "nowhere:net", "--data", "mine:dicts"), "nowhere"),
        (("--model", "mine:no_model", "--data", "mine:dicts"), "nn.Module is wanted"),
        (("--model", "mine:mlp"), "--data is missing"),
        (("--model", "mine:mlp", "--data", "mine:empty"), "yields no batch"),
        (("--model", "mine:mlp", "--data", "mine:pictures"), ""),
        (("--model", "mine:answers", "--data", "mine:pictures"), "forward="),
        (("--model", "mine:mlp", "--data", "gone.npz"), "gone.npz"),
        (("--model", "mine:mlp", "--data", "mine:dicts", "--checkpoint", "gone.safetensors"), "no such file"),
        (("--model", "mine:mlp", "--data", "mine:dicts", "--checkpoint", "broken.safetensors"), "cannot be read"),
        (("--model", "mine:mlp", "--data", "mine:dicts", "--probes", "nothing"), "no probe 'nothing'"),
        (("--model", "mine:mlp", "--data", "mine:dicts", "--fail-on", "bad"), "watch or act"),
        (("--model", "mine:mlp", "--data", "mine:dicts", "--out", "mine.py/x"), "mine.py"),
        (("--remedy", "group-norm"), "add --treat"),
        (("--data", "mine:dicts"), "--model"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    folder: Path, diagnose: Run, arguments: tuple[str, ...], message: str
) -> None:
    (folder / "broken.safetensors").write_bytes(b"not tensors")
    done = diagnose(*arguments, "--json")
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr
    assert done.stdout == ""
    assert not list(folder.rglob("report.html"))
    assert not list(folder.rglob("*.part"))


def test_a_healthy_model_has_nothing_to_be_treated_for(folder: Path, diagnose: Run) -> None:
    done = diagnose("--model", "mine:mlp", "--data", "mine:dicts", "--treat")
    assert done.returncode == 0, done.stderr
    assert "nothing to treat" in done.stdout
    assert list(folder.rglob("report.html"))
    assert not list(folder.rglob("treated"))


def test_a_batch_of_the_wrong_shape_is_named(folder: Path, diagnose: Run) -> None:
    done = diagnose("--model", "mine:mlp", "--data", "mine:wide")
    assert done.returncode == 2
    assert "the model failed on a batch of (4, 9) float32, (4,) int64: mat1 and mat2 shapes" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_self_test_prints_the_table_of_patients(folder: Path, diagnose: Run) -> None:
    payload = _payload(diagnose("--self-test", "--json"))
    assert payload["patients"]
    assert all(set(patient["has"]) == set(patient["said"]) for patient in payload["patients"])


@pytest.mark.slow
def test_the_embedded_default_is_sick_before_and_well_after(folder: Path, diagnose: Run) -> None:
    payload = _payload(diagnose("--treat", "--json"))
    treatment = payload["treatment"]
    assert _severities(payload)["batch-noise"] == "act"
    assert treatment["before"]["severity"] == "act"
    assert treatment["after"]["severity"] == "ok"
    assert [s["path"] for s in treatment["before"]["sites"]] == [s["path"] for s in treatment["after"]["sites"]]
    assert len(treatment["quality_before"]["seeds"]) == len(treatment["quality_after"]["seeds"]) == 3
    assert (folder / "normkit-report" / "report.html").is_file()


TABLE = "id,Si,Al,K\n" + "".join(f"{i},{60 + i % 7},{20 + i % 5},{20 - i % 7 - i % 5}\n" for i in range(30))


def test_a_table_is_diagnosed_without_a_model(folder: Path, diagnose: Run) -> None:
    (folder / "table.csv").write_text(TABLE, encoding="utf-8")
    done = diagnose("--data", "table.csv", "--json", "--fail-on", "act")
    assert done.returncode == 3
    payload = _payload(done)
    finding = payload["findings"][0]
    assert _severities(payload) == {"closed-rows": "act"}
    assert finding["sites"][0]["parts"] == "'Si', 'Al', 'K'"
    assert finding["remedies"][0]["to"] == "partial-correlation"
    assert payload["model"] == "table"
    assert "Si, Al, K" in (folder / "normkit-report" / "report.html").read_text(encoding="utf-8")
    plain = diagnose("--data", "table.csv")
    assert plain.returncode == 0
    assert "PartialCorrelation" in plain.stdout
    assert payload["read"] == "30 rows of 4 columns separated by commas, decimal points, names on the first line"
    assert plain.stdout.startswith(f"read: {payload['read']}\n")


def test_columns_without_numbers_are_named_and_numbers_can_name_columns(folder: Path, diagnose: Run) -> None:
    lines = TABLE.replace("id,Si,Al,K", "site,0,1,2").splitlines()
    text = "\n".join([lines[0], *(f"place {line}" for line in lines[1:])])
    (folder / "table.csv").write_text(text, encoding="utf-8")
    done = diagnose("--data", "table.csv", "--json", "--header", "yes")
    assert _payload(done)["findings"][0]["sites"][0]["parts"] == "'0', '1', '2'"
    assert done.stderr == "not looked at, as they hold no numbers: site\n"
    assert "--header yes" in diagnose("--data", "table.csv").stderr


def test_a_data_set_that_is_a_table(diagnose: Run, data_folder: Path) -> None:
    if not (data_folder / "roman-cups").is_dir():
        pytest.skip("roman-cups is not on this machine")
    finding = _payload(diagnose("--data", "roman-cups", "--json"))["findings"][0]
    assert finding["sites"][0]["columns"] == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "gone.csv"), "gone.csv: no such file"),
        (("--data", "words.csv"), "no column holds numbers"),
        (("--data", "digits"), "is no table"),
        (("--data", "table.csv", "--treat"), "leave --treat out"),
        (("--data", "table.csv", "--loss", "mine:mlp"), "--loss and --forward go with a model"),
        (("--data", "header.csv"), "has a header and no rows"),
        (("--data", "counted.csv"), "line 1 counts up, as pandas names columns"),
        (("--data", "percent.csv"), "line 2, column 2 (b): the number has a percent sign"),
        (("--data", "table.csv", "--probes", "batch-noise"), "batch-noise: it examines models: name one with --model"),
        (("--data", "few.csv", "--probes", "closed-rows"), "closed-rows: 2 rows without a gap are too few"),
        (
            ("--model", "mine:mlp", "--data", "mine:dicts", "--probes", "closed-rows"),
            "no probe that --probes names could run (closed-rows: it examines tables: --data table.csv)",
        ),
    ],
)
def test_bad_tables_are_one_line_and_code_2(
    folder: Path, diagnose: Run, arguments: tuple[str, ...], message: str
) -> None:
    (folder / "table.csv").write_text(TABLE, encoding="utf-8")
    written = {
        "words": "a,b\nx,y\n",
        "header": "a,b\n",
        "counted": "0,1,2\n3,4,5\n",
        "percent": "a,b\n1,2 %\n",
        "few": "a,b,c\n1,2,3\n4,5,6\n",
    }
    for name, text in written.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    done = diagnose(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "normkit-report").exists()


def test_help_lists_probes_and_remedies_and_where_the_report_goes(
    diagnose: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normkit.conversion import rules
    from normkit.diagnosis import probes

    monkeypatch.setenv("COLUMNS", "400")
    done = diagnose("--help")
    assert done.returncode == 0
    assert ", ".join(probes()) in done.stdout
    assert ", ".join(rules()) in done.stdout
    assert "[default: normkit-report]" in done.stdout
