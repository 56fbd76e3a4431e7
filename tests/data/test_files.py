import os
from pathlib import Path

import pytest

from normkit.data import atomic, writable_folder, write_atomically


def test_a_file_is_written_whole_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "a.txt", "µ and σ")
    assert path.read_text(encoding="utf-8") == "µ and σ"
    write_atomically(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "a.txt", "old")

    def interrupted() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    ours = write_atomically(tmp_path / "ours", "")
    assert ours.stat().st_mode == ordinary.stat().st_mode


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_atomically(tmp_path, "")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere cannot be written \(No such file"):
        write_atomically(tmp_path / "nowhere" / "a.txt", "")


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = writable_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


def test_a_full_folder_is_refused_unless_forced(tmp_path: Path) -> None:
    write_atomically(tmp_path / "mine.txt", "precious")
    with pytest.raises(FileExistsError, match=r"not empty.*force=True"):
        writable_folder(tmp_path)
    assert writable_folder(tmp_path, force=True) == tmp_path
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    blocked = write_atomically(tmp_path / "file", "")
    with pytest.raises(OSError, match=r"the folder .* cannot be created"):
        writable_folder(blocked / "inside")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match="cannot be written"):
        writable_folder(tmp_path)
