import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from normkit import data
from normkit.data.idx import write_idx

EMBEDDED = ["digits", "pydoc-topics"]


@pytest.fixture
def empty_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path))
    return tmp_path


def write_mnist(folder: Path) -> None:
    folder.mkdir()
    for part, count in (("train", 3), ("t10k", 2)):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", np.full((count, 28, 28), count, np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8))


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_sets_need_no_folder(name: str, empty_root: Path) -> None:
    bunch = data.load(name)
    assert bunch.meta.name == name
    assert len(bunch.X) > 0
    assert data.describe(name)["available"]


@pytest.mark.parametrize("name", data.names())
def test_every_set_states_its_facts(name: str) -> None:
    facts = data.describe(name)
    for key in ("summary", "source", "licence", "citation"):
        assert facts[key].strip(), key
    assert bool(facts["files"]) == (facts["bytes"] > 0)


def test_a_set_that_is_not_there_is_named_with_the_ways_to_get_it(empty_root: Path) -> None:
    with pytest.raises(data.DataNotFound) as caught:
        data.load("mnist")
    message = str(caught.value)
    for part in (
        "train-images-idx3-ubyte.gz",
        str(empty_root / "mnist"),
        "11.3 MB",
        "(1)",
        "(2)",
        "(3)",
        "download=True",
    ):
        assert part in message
    assert isinstance(caught.value, FileNotFoundError)
    assert "\n" not in message


def test_a_download_that_does_not_exist_is_not_attempted(empty_root: Path) -> None:
    with pytest.raises(data.DataNotFound, match="no automatic download"):
        data.load("usps", download=True)


def test_no_set_stands_in_for_another(empty_root: Path) -> None:
    write_mnist(empty_root / "mnist")
    assert data.load("mnist").meta.name == "mnist"
    with pytest.raises(data.DataNotFound, match="usps"):
        data.load("usps")


def test_a_misspelt_name_is_answered_with_the_close_ones() -> None:
    with pytest.raises(KeyError, match="did you mean mnist"):
        data.load("minst")
    with pytest.raises(KeyError, match="there are cifar10"):
        data.load("zzzzzz")


def test_a_set_in_the_folder_is_read(empty_root: Path) -> None:
    write_mnist(empty_root / "mnist")
    bunch = data.load("mnist")
    assert bunch.X.shape == (5, 28, 28, 1)
    assert bunch.y is not None
    assert bunch.y.tolist() == [0, 1, 2, 0, 1]
    x, y = bunch.part("test")
    assert x.max() == x.min() == 2
    assert y is not None
    assert y.tolist() == [0, 1]
    with pytest.raises(KeyError, match="no split 'dev': its splits are train, test"):
        bunch.part("dev")


def test_a_damaged_file_is_one_clear_error(empty_root: Path) -> None:
    write_mnist(empty_root / "mnist")
    (empty_root / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"not gzip at all")
    with pytest.raises(ValueError, match=r"the files of mnist in .* are damaged"):
        data.load("mnist")


def test_without_the_variable_the_platforms_cache_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NORMKIT_DATA", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.root() == tmp_path / "normkit" / "data"


def hub_of(monkeypatch: pytest.MonkeyPatch, rows: dict[str, dict[str, list[object]]]) -> list[str]:
    """A stand-in for the Hugging Face package that hands out `rows` and notes what was asked for."""
    asked: list[str] = []

    def load_dataset(repository: str, split: str) -> dict[str, list[object]]:
        asked.append(f"{repository}:{split}")
        return rows[split]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return asked


def test_mnist_is_fetched_through_the_hub_and_then_read_from_the_folder(
    empty_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.full((28, 28), 7, np.uint8)
    asked = hub_of(
        monkeypatch, {split: {"image": [image], "label": [label]} for split, label in (("train", 4), ("test", 9))}
    )
    bunch = data.load("mnist", download=True)
    assert asked == ["ylecun/mnist:train", "ylecun/mnist:test"]
    assert bunch.y is not None
    assert bunch.y.tolist() == [4, 9]
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert np.array_equal(data.load("mnist").X, bunch.X)


def test_cifar10_is_fetched_through_the_hub(empty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((32, 32, 3), 9, np.uint8)
    hub_of(monkeypatch, {"train": {"img": [image] * 2, "label": [0, 1]}, "test": {"img": [image], "label": [5]}})
    bunch = data.load("cifar10", download=True)
    assert bunch.X.shape == (3, 32, 32, 3)
    assert {name: index.tolist() for name, index in bunch.split.items()} == {"train": [0, 1], "test": [2]}


def test_a_download_without_the_hubs_package_says_how_to_get_it(
    empty_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install datasets"):
        data.load("mnist", download=True)
    assert not list((empty_root / "mnist").iterdir())


CHECKSUMS = {
    "cifar10-mini": "366cf6ae0b4f9fdce81c7a8cac2936f4f0b68bf1891c1e84950ce5ef0618b675",
    "darwin": "3b20a3a3675b2b2c8cfb1143d26d9a0226bbf67f918114e2338b9f06e7fb831f",
    "digits": "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3",
    "mnist": "5b92582eb909c82a9bfefcd44acbe9233be3eb5b419a44cf211022ad2bf4bf96",
    "natural": "89076091bd45a0ae15598a56a9b87e4115e768d9276e8cdb8645dff9a8b42168",
    "roman-cups": "73f7b64942a77ad34f8704cf51aa8c95c8b5f5dfc9666f0f0c7bf75033057410",
    "state-union": "252f4caf25845ba92a4c019e8350dbe0c1408afa5218e63371d70cd6ddfaa8b4",
    "tinyshakespeare": "9ac41865c3d542edd97dd2106609422f553da41c82bd5bb886a09f4e61b5bfae",
    "usps": "25905ee2d769196534b5fa5238b66eb45bf35f6aa5caea43a478c2b8f3dc6307",
    "wikitext2-mini": "7f553f3f0e70b430d4011a1dabdca555d77f071b42c33f894e80f5bf160da187",
}
"""SHA-256 of the decoded X; cifar10 is not kept with the tests' data, and each Python has its own pydoc-topics."""


@pytest.mark.parametrize("name", sorted(CHECKSUMS))
def test_the_decoded_arrays_are_the_known_ones(name: str, data_folder: Path) -> None:
    if not data.describe(name)["available"]:
        pytest.skip(f"{name} is not in {data_folder}")
    bunch = data.load(name)
    content = "\0".join(bunch.X).encode() if bunch.X.dtype == object else bunch.X.tobytes()
    assert hashlib.sha256(content).hexdigest() == CHECKSUMS[name]


@pytest.mark.parametrize("name", data.names())
def test_the_splits_are_inside_the_set_and_do_not_overlap(name: str) -> None:
    if not data.describe(name)["available"]:
        pytest.skip(f"{name} is not on this machine")
    bunch = data.load(name)
    index = np.concatenate(list(bunch.split.values()))
    assert len(np.unique(index)) == len(index)
    assert index.min() >= 0
    assert index.max() < len(bunch.X)
    assert bunch.y is None or len(bunch.y) == len(bunch.X)
