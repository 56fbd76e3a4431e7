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
        ("a,b\n", "has a header and no rows: give a line of numbers"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells separated by commas, and the header has 2"),
        ("a,a\n1,2\n", "columns 1, 2 bear one name, 'a'"),
        ("a,b\nx,y\n", "no column holds numbers"),
        ("0,1,2\n1,2,3\n", "line 1 counts up, as pandas names columns"),
        (",0,1,2\n0,1,2,3\n", "line 1 counts up, as pandas names columns"),
        ("site,2019,2020\neast,2,3\n", "line 1 could be names or a row"),
        ("a,b\n1,10 %\n2,20 %\n", r"line 2, column 2 \(b\): the number has a percent sign"),
        ("a,b\n1,1\n2,<0.1\n3,3\n", r"line 3, column 2 \(b\): a bound stands there"),
        ("<0.1,<0.2\n0.5,0.6\n", "line 1 could be names or a row: column 1 could be a number"),
        ("NA\n0.5\n", "line 1 could be names or a row: column 1 could be a number"),
        ("a,b\n1,2\n1e400,2\n", r"line 3, column 1 \(a\): the number is infinite"),
        ("a,b\n1,2\ninf,NA\n", r"line 3, column 1 \(a\): the number is infinite"),
        ("a,b\n1,1_0\n2,2\n3,3\n", r"line 2, column 2 \(b\): the cell is no number"),
        ('a,b\n1,"1,000"\n2,2\n', r"line 2, column 2 \(b\): the number has a separator of thousands"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read_table(written(tmp_path, text))


def test_a_table_without_names_keeps_its_first_row(tmp_path: Path) -> None:
    table = data.read_table(written(tmp_path, "7,2.5,east\n3,4,west\n"), "no")
    assert (table.names, table.left_out) == (("x0", "x1"), ("x2",))
    table = data.read_table(written(tmp_path, "7,2.5\n3,4\n"))
    assert table.names == ("x0", "x1")
    np.testing.assert_array_equal(table.values, [[7, 2.5], [3, 4]])


def test_numbers_that_name_columns_are_names_where_it_is_said(tmp_path: Path) -> None:
    frame = pd.DataFrame([[1.5, 2], [3, 4]])
    frame.to_csv(tmp_path / "frame.csv")
    table = data.read_table(tmp_path / "frame.csv", "yes")
    assert table.names == ("0", "1")
    np.testing.assert_array_equal(table.values, frame)


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    table = data.read_table(written(tmp_path, "Stoff;a;b\nGlas;1,5;\nTon;2;0,25\n"))
    assert (table.names, table.left_out) == (("a", "b"), ("Stoff",))
    np.testing.assert_array_equal(table.values, [[1.5, np.nan], [2, 0.25]])


def test_a_column_of_which_less_than_half_are_numbers_is_left_out(tmp_path: Path) -> None:
    assert data.read_table(written(tmp_path, "a,code\n1,17\n2,18B\n3,A19\n4,\n")).left_out == ("code",)


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        data.read_table(tmp_path / "binary.csv")
    with pytest.raises(FileNotFoundError, match=r"gone\.csv: no such file"):
        data.read_table(tmp_path / "gone.csv")


def test_cups_of_other_columns_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMKIT_DATA", str(tmp_path))
    (tmp_path / "roman-cups").mkdir()
    written(tmp_path / "roman-cups", "a,b\n1,2\n", "cups.csv")
    with pytest.raises(ValueError, match=r"the files of roman-cups in .* are damaged"):
        data.load("roman-cups")
