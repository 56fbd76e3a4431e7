import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from normkit.cli import compare
from normkit.models import MLP

APP = typer.Typer()
APP.command()(compare.command)
SMALL = ["--seeds", "1", "--steps", "2", "--lrs", "0.05", "--n-jobs", "1"]
HERE = "tests.cli.test_compare"


def build() -> torch.nn.Module:
    return MLP((6, 4, 2))


def rows() -> list[tuple[torch.Tensor, torch.Tensor]]:
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    return [(x, (x.sum(1) > 0).long())]


def run(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(APP, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def fails(kind: type[Exception], said: str, *arguments: str) -> None:
    with pytest.raises(kind, match=said):
        CliRunner().invoke(APP, list(arguments), catch_exceptions=False)


def test_the_embedded_comparison_gives_one_json_object(tmp_path: Path) -> None:
    found = run(*SMALL, "--methods", "baseline,weight-standardization+batch-channel-norm", "--out", str(tmp_path))
    names = [method["name"] for method in found["methods"]]  # type: ignore[attr-defined]
    assert names == ["baseline", "weight-standardization+batch-channel-norm"]
    assert {"schema", "versions", "device", "seconds", "report"} <= found.keys()
    assert (tmp_path / "report.html").is_file()


def test_a_model_and_data_of_the_users_own() -> None:
    found = run(
        *SMALL, "--methods", "baseline", "--model", f"{HERE}:build", "--data", f"{HERE}:rows", "--batch-size", "8"
    )
    assert found["settings"]["batch_sizes"] == [8]  # type: ignore[index]


def test_a_sweep() -> None:
    found = run(*SMALL, "--methods", "baseline", "--sweep", "batch", "--batch-sizes", "2,4")
    assert [method["batch_size"] for method in found["methods"]] == [2, 4]  # type: ignore[attr-defined]


def test_the_table_is_for_people() -> None:
    result = CliRunner().invoke(APP, [*SMALL, "--methods", "baseline"], catch_exceptions=False)
    assert result.exit_code == 0


def test_mistakes_are_named(tmp_path: Path) -> None:
    fails(ValueError, "--model was given without --data", "--model", f"{HERE}:build")
    fails(ValueError, "--data was given without --model", "--data", "digits")
    fails(ValueError, "--lrs is 'fast'", "--lrs", "fast")
    fails(ValueError, "--methods holds ''", "--methods", "baseline,")
    fails(ValueError, "no-such-rule", *SMALL, "--methods", "baseline,no-such-rule")
    fails(ValueError, "sweep is 'depth'", "--sweep", "depth")
    (tmp_path / "file").write_text("")
    fails(OSError, "cannot be created", *SMALL, "--methods", "baseline", "--out", str(tmp_path / "file" / "inside"))


@pytest.mark.slow
def test_the_default_shows_every_method_and_rate() -> None:
    found = run("--n-jobs", "1")
    assert [method["name"] for method in found["methods"]] == list(  # type: ignore[attr-defined]
        compare.embedded.METHODS
    )
    assert all(len(method["curve"]) == 5 for method in found["methods"])  # type: ignore[attr-defined]
