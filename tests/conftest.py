"""One torch thread a worker, annotations checked at run time, real data where they are."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
if "NORMKIT_DATA" not in os.environ and _SHARED.is_dir():
    os.environ["NORMKIT_DATA"] = str(_SHARED)

from importlib.util import find_spec  # noqa: E402

from jaxtyping import install_import_hook  # noqa: E402

# A machine that lends its GPU may have no beartype; the annotations are checked elsewhere then.
_CHECKER = "beartype.beartype" if find_spec("beartype") else None

with install_import_hook("normkit", _CHECKER):
    import normkit  # noqa: F401

install_import_hook("normkit", _CHECKER)  # and for the rooms, which load on first use

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    default = Path(__file__).parent / "golden"
    parser.addoption("--golden", type=Path, default=default, help="folder of <slug>.npz files for tests/golden")
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow") or "slow" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="slow: run by `make slow`")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets; the test is skipped where there is none."""
    folder = Path(os.environ.get("NORMKIT_DATA", ""))
    if not os.environ.get("NORMKIT_DATA") or not folder.is_dir():
        pytest.skip("no real data here: set NORMKIT_DATA to a folder of data sets")
    return folder
