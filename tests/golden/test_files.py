"""Every golden file has its test module, or stands in pending.py; the pending list names nothing that is gone."""

from pathlib import Path

import pytest

from tests.golden.conftest import HERE, slug_of
from tests.golden.pending import PENDING

MODULES = {slug_of(path) for path in HERE.glob("test_*.py")} - {"files"}


def test_every_file_has_a_module_or_is_pending(request: pytest.FixtureRequest) -> None:
    folder: Path = request.config.getoption("--golden")
    files = {path.stem for path in folder.glob("*.npz")}
    assert files, f"{folder} holds no .npz file"
    unknown = files - MODULES - PENDING.keys()
    assert not unknown, f"no test module tests/golden/test_<slug>.py and no line in pending.py for {sorted(unknown)}"


def test_a_paper_that_moved_in_is_not_pending_as_a_whole() -> None:
    whole = {slug for slug, patterns in PENDING.items() if ".*" in patterns}
    assert not whole & MODULES
