"""Pretrained weights: found where data sets are, fetched only when asked, damaged ones named."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from normkit import data

FILE = "mobilenet_v2_imagenet.npz"


@pytest.fixture
def empty_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path))
    return tmp_path


def test_what_is_not_there_is_named_with_the_ways_to_get_it(empty_root: Path) -> None:
    with pytest.raises(data.DataNotFound) as caught:
        data.pretrained("mobilenetv2")
    message = str(caught.value)
    for part in (FILE, str(empty_root / "mobilenetv2"), "13.2 MB", "download.pytorch.org", "download=True"):
        assert part in message
    assert 'normkit.data.pretrained("mobilenetv2", download=True)' in message


def test_a_wrong_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(KeyError, match="no weights 'mobilenet': give mobilenetv2"):
        data.pretrained("mobilenet")
    with pytest.raises(KeyError, match="no weights 'x': give mobilenetv2"):
        data.pretrained("x")


def test_it_is_fetched_through_torch_and_then_read_from_the_folder(
    empty_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"classifier.1.bias": torch.arange(3.0), "features.0.1.num_batches_tracked": torch.tensor(7)}
    asked: list[dict[str, Any]] = []

    def fetch(url: str, **options: Any) -> dict[str, torch.Tensor]:
        asked.append({"url": url, **options})
        (Path(options["model_dir"]) / url.rpartition("/")[2]).write_bytes(b"what torch leaves there")
        return state

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    found = data.pretrained("mobilenetv2", download=True)
    assert found["classifier.1.bias"].tolist() == [0, 1, 2]
    assert asked[0]["check_hash"] is True
    assert asked[0]["weights_only"] is True
    assert [path.name for path in (empty_root / "mobilenetv2").iterdir()] == [FILE]
    assert data.pretrained("mobilenetv2", download=True).keys() == state.keys()
    assert len(asked) == 1


def test_a_download_that_stops_leaves_nothing(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, **options: Any) -> dict[str, torch.Tensor]:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    with pytest.raises(OSError, match="no network"):
        data.pretrained("mobilenetv2", download=True)
    assert not list((empty_root / "mobilenetv2").iterdir())


@pytest.mark.parametrize("content", [b"not a zip file", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_one_clear_error(content: bytes, empty_root: Path) -> None:
    (empty_root / "mobilenetv2").mkdir()
    (empty_root / "mobilenetv2" / FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"the files of mobilenetv2 in .* are damaged"):
        data.pretrained("mobilenetv2")


def test_the_arrays_are_the_known_ones(data_folder: Path) -> None:
    if not (data_folder / "mobilenetv2" / FILE).is_file():
        pytest.skip(f"mobilenetv2 is not in {data_folder}")
    found = data.pretrained("mobilenetv2")
    content = b"".join(name.encode() + np.ascontiguousarray(found[name]).tobytes() for name in sorted(found))
    assert hashlib.sha256(content).hexdigest() == "1a4a065a90e3b82165218cf374635d1fbfad5b89befaa1cc30c321a2da34262a"
