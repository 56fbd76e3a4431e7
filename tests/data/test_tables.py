"""Tables from files, frames, arrays and tensors, and what is said of files that are none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from normkit import data


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_file_as_r_writes_it(tmp_path: Path) -> None:
    table = data.read_table(written(tmp_path, '"","Si","site","Al"\n"1",70.5,"east",NA\n\n"2",1e1,"west",3\n'))
    assert table.names == ("Si", "Al")
    assert table.left_out == ("site",)
    np.testing.assert_array_equal(table.values, [[70.5, np.nan], [10, 3]])


def test_tabs_and_the_mark_of_utf_8(tmp_path: Path) -> None:
    table = data.read_table(written(tmp_path, "\ufeffa\tb\n1\t2\n", "table.tsv"))
    assert table.names == ("a", "b")


def test_every_kind_of_table_is_the_same_table() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    frame = pd.DataFrame(values, columns=["a", "b"]).assign(c=["x", "y"], d=[True, False])
    table = data.as_table(frame)
    assert (table.names, table.left_out) == (("a", "b"), ("c", "d"))
    assert data.as_table(table) is table
    for found in (values, values.astype(int), torch.tensor(values), frame, table):
        assert data.is_table(found)
        np.testing.assert_array_equal(data.as_table(found).values, values)
    assert data.as_table(values).names == ("x0", "x1")
    gaps = pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})
    np.testing.assert_array_equal(data.as_table(gaps).values, [[1], [np.nan]])


@pytest.mark.parametrize("found", [[[1.0]], torch.nn.Linear(2, 2), np.zeros(3), "table.csv"])
def test_what_is_no_table(found: object) -> None:
    assert not data.is_table(found)
    with pytest.raises(TypeError, match="a DataFrame or a 2-D array is wanted"):
        data.as_table(found)


def test_arrays_without_numbers_are_refused() -> None:
    for array in (np.array([["a"]]), np.array([[1j]])):
        with pytest.raises(TypeError, match="real numbers are wanted"):
            data.as_table(array)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "has 1 lines: a header and rows are wanted"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells where the header has 2"),
        ("a,a\n1,2\n", "two columns bear one name"),
        ("a,b\nx,y\n", "no column holds numbers"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read_table(written(tmp_path, text))


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        data.read_table(tmp_path / "binary.csv")
    with pytest.raises(FileNotFoundError, match=r"gone\.csv: no such file"):
        data.read_table(tmp_path / "gone.csv")


def test_cups_of_other_columns_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path))
    (tmp_path / "roman-cups").mkdir()
    written(tmp_path / "roman-cups", "a,b\n1,2\n", "cups.csv")
    with pytest.raises(ValueError, match=r"the files of roman-cups in .* are damaged"):
        data.load("roman-cups")
