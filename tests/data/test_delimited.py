"""One reader of tables of numbers: separators, decimal marks, first lines, and what is said of cells that are none."""

import csv
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normkit.data import read_table
from normkit.data.delimited import as_numbers, read_cells
from normkit.data.written_numbers import could_be_a_name, fault, looks_like_a_number, number


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def read(file: Path, text: str, header: str = "auto") -> tuple[list[str] | None, np.ndarray]:
    file.write_text(text, encoding="utf-8")
    cells = read_cells(file, header)
    return cells.names, as_numbers(list(cells.lines), range(cells.width), cells)


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1.5,2\n-3,4e2\n",
        "a;b\n1.5;2\n-3;4e2\n",
        "a;b\r\n1,5;2\r\n-3;4e2\r\n",
        "a\tb\n1.5\t2\n-3\t4e2\n",
        "a\tb\n1,5\t2\n-3\t4e2\n",
        '"a" ,b\n"1.5", 2\n\n-3,4e2',
    ],
)
def test_commas_semicolons_tabs_and_decimal_commas(file: Path, text: str) -> None:
    names, values = read(file, text)
    assert names == ["a", "b"]
    np.testing.assert_array_equal(values, [[1.5, 2], [-3, 400]])


@pytest.mark.parametrize("text", ["1.5,2\n3,4\n", "1,5;2\n3;4\n", "1.5\t2\n3\t4\n"])
def test_a_first_line_of_numbers_is_a_row(file: Path, text: str) -> None:
    names, values = read(file, text)
    assert names is None
    np.testing.assert_array_equal(values, [[1.5, 2], [3, 4]])


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1))
def test_what_pandas_writes_is_read_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    file = tmp_path_factory.getbasetemp() / "written.csv"
    clear = [
        0.5,
        0.5,
        0.5,
    ]  # without a number such as this, 1,234 with a decimal comma could be 1234 too, and is refused
    frame = pd.DataFrame([clear, *rows], columns=["a", "b", "c"])
    for separator, decimal in ((",", "."), (";", "."), (";", ","), ("\t", ",")):
        frame.to_csv(file, sep=separator, decimal=decimal, index=False)
        names, values = read(file, file.read_text())
        assert names == ["a", "b", "c"]
        np.testing.assert_array_equal(values, frame.to_numpy())


@pytest.mark.parametrize("first", ["0,1,2", "1,2,3", "0", "2019,2020,2021", "0;1;2"])
def test_a_first_line_that_counts_up_is_refused_until_it_is_said_what_it_is(file: Path, first: str) -> None:
    columns = len(first.replace(";", ",").split(","))
    text = f"{first}\n" + ",".join(["7.5"] * columns).replace(",", ";" if ";" in first else ",") + "\n"
    with pytest.raises(ValueError, match=r"table\.csv, line 1 counts up, as pandas .* \(--header yes\) for names"):
        read(file, text)
    names, values = read(file, text, "yes")
    assert names is not None
    assert len(names) == columns
    assert values.shape == (1, columns)
    names, values = read(file, text, "no")
    assert names is None
    assert values.shape == (2, columns)


def test_a_single_column_of_whole_numbers_may_begin_with_0(file: Path) -> None:
    names, values = read(file, "0\n5\n0\n")
    assert names is None
    np.testing.assert_array_equal(values, [[0], [5], [0]])
    with pytest.raises(ValueError, match="line 1 counts up"):  # pandas writes 0 above numbers, and 0.0 among them
        read(file, "0\n5.0\n0.0\n")


def test_a_comma_of_thousands_is_not_decimal_because_another_column_has_decimal_commas(file: Path) -> None:
    for lines, line in (("1,234\t0,5\n", 2), ("12\t0,5\n1,234\t2\n", 3), ("1\t0,5\n" * 200 + "1,234\t2\n", 202)):
        said = rf"line {line}, column 1 \(a\): the comma could be a decimal one or separate thousands"
        with pytest.raises(ValueError, match=said):
            read(file, f"a\tb\n{lines}")
        with pytest.raises(ValueError, match=said):
            read_table(file)
    for rest in ("0,5\t1\n", "1\t1\n" * 200 + "2,25\t1\n"):
        assert read(file, f"a\tb\n1,234\t0,5\n{rest}")[1][0, 0] == 1.234
        assert read_table(file).values[0, 0] == 1.234


def test_a_decimal_comma_told_in_one_block_holds_in_the_next(file: Path) -> None:
    file.write_text("a;b\n0,5;1\n1,234;1\n")
    cells = read_cells(file)
    first, second = list(cells.lines)
    as_numbers([first], [0, 1], cells)
    assert as_numbers([second], [0, 1], cells)[0, 0] == 1.234


@pytest.mark.parametrize("header", ["auto", "no"])
def test_one_number_a_line_with_a_decimal_comma_is_not_two(file: Path, header: str) -> None:
    with pytest.raises(ValueError, match="each line could be one number with a decimal comma, or two whole numbers"):
        read(file, "1,5\n2,05\n", header)
    names, values = read(file, "a,b\n1,5\n2,05\n")
    assert names == ["a", "b"]
    np.testing.assert_array_equal(values, [[1, 5], [2, 5]])
    assert read(file, "1,5\n2,0\n", header)[1].shape == (2, 2)  # nothing tells; the layout says what was read


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("1,5\n2,5\n", "2 columns separated by commas, decimal points, no names: the first line is a row"),
        ("a;b;c\n1,5;2;3\n", "3 columns separated by semicolons, decimal commas, names on the first line"),
        ("a\n2\n", "1 column, decimal points, names on the first line"),
    ],
)
def test_how_a_file_is_read_can_be_said(file: Path, text: str, layout: str) -> None:
    file.write_text(text)
    assert read_cells(file).layout() == layout
    assert read_table(file).layout == layout


@pytest.mark.parametrize("first", ["1", "3,4", "0,2,1", "0.0,1.0,2.0", "1,2,4"])
def test_other_numbers_are_a_row(file: Path, first: str) -> None:
    assert read(file, f"{first}\n{first}\n")[0] is None


def test_names_mixed_with_numbers_are_refused_until_it_is_said_what_they_are(file: Path) -> None:
    with pytest.raises(ValueError, match="column 2 is a number and column 1 is none; say which"):
        read(file, "site,2019,2020\n1,2,3\n")
    assert read(file, "site,2019,2020\n1,2,3\n", "yes")[0] == ["site", "2019", "2020"]
    with pytest.raises(ValueError, match="header is 'maybe': choose one of auto, yes, no"):
        read(file, "1\n", "maybe")


UNREAD = [
    "<0.1,<0.2\n0.5,0.6\n0.7,0.8\n",
    "1.234,5;2.345,6\n0,5;0,7\n3,5;8,1\n",
    "1 234,5;2 345,6\n0,5;0,7\n3,5;8,1\n",
    "1,234;2,345\n5,678;9,012\n",
    "5%;6%\n5;6\n",
    "$5,$6\n5,6\n",
    "5 mg;6 mg\n5;6\n",
    "EUR 5,20;EUR 6,00\n5,20;6,00\n",
    "US$5;ca. 6\n5;6\n",
    "−5;−6\n-5;-6\n",
    "NA\n0.5\n0.7\n",
    "NA,NA\n0.5,0.7\n",
    "#N/A;-\n0.5;0.7\n",
    "n.d.;<LOD\n0.5;0.7\n",
    "1_0\n0.5\n",
    "½ 5\n0.5\n",
]
"""Tables without a header of whose first row no cell can be read."""


@pytest.mark.parametrize("text", UNREAD)
def test_a_row_that_cannot_be_read_is_not_taken_for_names(file: Path, text: str) -> None:
    with pytest.raises(
        ValueError, match=r"table\.csv, line 1 could be names or a row: column 1 could be a number"
    ) as one:
        read(file, text)
    with pytest.raises(ValueError, match=r"line 1, column 1: (the|a bound) ") as two:
        read(file, text, "no")
    for caught in (one, two):
        said = str(caught.value).replace("such as <1;", "").replace("1234.5 for 1,234.5", "").replace("(or NA)", "")
        cells = text.splitlines()[0].replace(";", ",").split(",")
        assert not any(cell in said.replace("line 1", "").replace("column 1", "") for cell in cells if len(cell) > 1)


@pytest.mark.parametrize(
    "first",
    ["SiO2 %,Na", "x_1,µ", "mean ± sd,E5", "a<b,°C", "EUR,none of it", "nd,total (%)", "Ca2+,PM 2.5", "五月,六月"],
)
def test_names_are_names(file: Path, first: str) -> None:
    assert read(file, f"{first}\n1,2\n")[0] == first.split(",")


@given(
    st.floats(allow_nan=False), st.sampled_from(["{}", "<{}", "{} %", "$ {}", "-{}", " ({})", "{} mg", "~{}", "'{}'"])
)
def test_a_number_is_no_name_however_it_is_written(value: float, way: str) -> None:
    for cell in (repr(value), repr(value).replace(".", ",")):
        if np.isfinite(value) or way in ("{}", "<{}"):
            assert not could_be_a_name(way.format(cell))


def test_names_that_could_be_a_private_row_are_not_shown(file: Path) -> None:
    for text, place in (("<0.1,east\n1,x\n", 2), ("0.1,0.2\n1,x\n", 2)):
        with pytest.raises(ValueError, match=f"line 2, column {place}: the cell is no number"):
            read(file, text, "yes")
    with pytest.raises(ValueError, match="line 1: columns 1, 2 bear one name: rename them"):
        read(file, "NA,NA\n1,2\n", "yes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: a line of numbers"),
        ("\n\n", "is empty: a line of numbers"),
        (",a\n1,2\n", "column 1 has no name, as R and pandas write the names of rows: leave that column out"),
        ("a,,b, \n1,2,3,4\n", r"columns without a name \(2, 4\)"),
        ("a,b,a\n1,2,3\n", "columns 1, 3 bear one name, 'a'"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells separated by commas, and the header has 2"),
        ("5,2\n1\n", "line 2: 1 cell separated by commas, and the first line has 2"),
        ("a,b\n1,2\n,\n", "line 3: all cells are empty; delete the line"),
        ("a,b\n1,\n", r"line 2, column 2 \(b\): the cell is empty"),
        ("a,b\nNA,1\n", r"line 2, column 1 \(a\): the cell is empty \(or NA\)"),
        ("a,b\nnan,1\n", r"line 2, column 1 \(a\): the cell is empty \(or NA\)"),
        ("a,b\n1,-inf\n", "the number is infinite"),
        ("a,b\n1,12 %\n", "the number has a percent sign"),
        ('a,b\n1,"1,234.5"\n', "the number has a separator of thousands"),
        ('a,b\n1,"1,5"\n', "the number has a decimal comma; write a point"),
        ("a;b\n1;1.234,5\n", "the number has a separator of thousands"),
        ("a;b\n1;1,234\n", "the number has a separator of thousands"),  # or 1.234: nothing tells
        ("a;b\n1;1,5\n2;1.5\n", "the number has a decimal comma"),
        ("a,b\n1,<0.01\n", "a bound stands there"),
        ("a,b\n1,1_0\n", "the cell is no number"),
        ("a,b\n1,1_234\n", "the number has a separator of thousands"),
        ("a,b\n1,$ 3\n", "the number has a unit"),
        ("a,b\n1,2 3\n", "several numbers stand there; separate cells by commas"),
        ("a b\n1 2\n", "cells are separated by spaces or another character; separate them by commas"),
        ("site|a|b\nx|1|2\n", "cells are separated by spaces or another character"),
        ("a,b\n1,east\n", r"line 2, column 2 \(b\): the cell is no number"),
        ("5,2\n1,east\n", "line 2, column 2: the cell is no number"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_what_to_do(file: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(file, text)
    assert "east" not in str(caught.value)  # cells may be private
    assert "234" not in str(caught.value).replace("1234.5 for 1,234.5", "")


def test_a_decimal_comma_that_comes_late_is_refused_and_so_is_a_point(file: Path) -> None:
    whole = "a;b\n" + "1;2\n" * 200
    with pytest.raises(ValueError, match=r"line 202, column 1 \(a\): the number has a decimal comma"):
        read(file, whole + "1,5;2\n")
    with pytest.raises(
        ValueError, match=r"line 203, column 1 \(a\): the number has a decimal point, and numbers before"
    ):
        read(file, "a;b\n1,5;2\n" + "1;2\n" * 200 + "1.5;2\n")


@pytest.mark.parametrize("content", ["a,b\n1,2\n".encode("utf-16"), b"PK\x03\x04\xff\xfe\x00", b"\xff\xd8\xff"])
def test_a_file_that_is_no_text(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"is no text in UTF-8: save the table as CSV"):
        read_cells(file)


def test_a_cell_that_never_ends(file: Path) -> None:
    with pytest.raises(ValueError, match=r"table\.csv, line \d+: no line of a table \(field larger than"):
        read(file, 'a,b\n1,"' + "2\n" * csv.field_size_limit())
    with pytest.raises(ValueError, match=r"table\.csv, line 2: no line of a table \(field larger than"):
        read(file, "5,2\n1," + "2" * (csv.field_size_limit() + 1) + "\n")


def test_a_folder_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder: a file of numbers is wanted"):
        read_cells(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_cells(tmp_path / "gone.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("a,b\n1,2\n",))
    writer.start()
    cells = read_cells(tmp_path / "pipe")
    np.testing.assert_array_equal(as_numbers(list(cells.lines), [1], cells), [[2]])
    writer.join()


def test_only_the_columns_asked_for_are_read(file: Path) -> None:
    file.write_text("site,a,b\neast,1,2\nwest,3,4\n")
    cells = read_cells(file)
    np.testing.assert_array_equal(as_numbers(list(cells.lines), [2, 1], cells), [[2, 1], [4, 3]])


@given(st.text(max_size=12), st.sampled_from([".", ","]))
def test_every_cell_is_a_number_or_has_a_fault(cell: str, decimal: str) -> None:
    found = number(cell, decimal)
    assert looks_like_a_number(cell, decimal) or found is None
    if found is None or not np.isfinite(found):
        said = fault(cell, decimal)
        assert said
        assert ";" in said  # what it is, and what to do
