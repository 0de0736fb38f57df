"""Writing a file: whole or not there."""

import errno
from pathlib import Path

import pytest

from model.files import writing


def entries(directory):
    return sorted(path.name for path in directory.iterdir())


def test_file_takes_its_place_when_the_block_ends(tmp_path):
    path = tmp_path / "out.csv"
    with writing(path) as file:
        file.write("new\n")
    assert path.read_text() == "new\n"
    assert entries(tmp_path) == ["out.csv"]


def test_file_is_not_at_its_place_before_the_block_ends(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    with writing(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_file_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("a longer text than the new one")
    with writing(path) as file:
        file.write("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_exception_leaves_the_old_file_and_no_temporary(tmp_path, error):
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(error, match=r"^stop$"), writing(path) as file:
        file.write("new")
        raise error("stop")
    assert path.read_text() == "old"
    assert entries(tmp_path) == ["out.csv"]


def test_exception_leaves_nothing_where_nothing_was(tmp_path):
    with pytest.raises(ValueError, match=r"^stop$"), writing(tmp_path / "out.csv") as file:
        file.write("new")
        raise ValueError("stop")
    assert entries(tmp_path) == []


def test_an_error_of_writing_has_the_files_name(tmp_path):
    path = tmp_path / "out.csv"
    with pytest.raises(OSError, match="No space left on device") as caught, writing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, writing(path):
        (tmp_path / "another").read_bytes()
    assert caught.value.filename == str(tmp_path / "another")


def test_a_full_device_has_its_name():
    full = Path("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught, writing(full) as file:
        file.write("x")
    assert caught.value.filename == "/dev/full"


def test_missing_directory_is_an_error_and_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "missing" / "out.csv"):
        pytest.fail("the block ran")
    assert entries(tmp_path) == []


def test_directory_at_the_place_is_an_error_and_stays(tmp_path):
    path = tmp_path / "out.csv"
    path.mkdir()
    with pytest.raises(OSError), writing(path) as file:
        file.write("new")
    assert entries(tmp_path) == ["out.csv"]
    assert entries(path) == []


def test_text_is_utf_8_and_line_ends_are_kept(tmp_path):
    path = tmp_path / "out.csv"
    with writing(path) as file:
        file.write("é→\n\r\n")
    assert path.read_bytes() == b"\xc3\xa9\xe2\x86\x92\n\r\n"


def test_a_device_is_written_to_and_stays_one():
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("not run: there is no /dev/full")
    with pytest.raises(OSError, match="No space left"), writing(full) as file:
        file.write("text")
    assert full.is_char_device()
    with writing(Path("/dev/null")) as file:
        file.write("text")
    assert Path("/dev/null").is_char_device()
