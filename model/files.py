"""Writing a file so that it is whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """A text file (UTF-8) that takes its place at `path` when the block ends well, else is gone.

    Raises OSError as open() and write() do, always with a file's name; then what stood at `path` is
    as it was. What is no file (a device, a pipe) is written to, and stays what it is.
    """
    try:
        with _written(path) as file:
            yield file
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # as of a full disk


@contextlib.contextmanager
def _written(path: Path) -> Iterator[IO[str]]:
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
