"""The journal of a run: what is done, line by line, so that a run that was stopped can go on.

A file for each plan under `sim_build/journal/`: the plan, then a result a line. It is only
ever appended to, so whatever ends the run leaves whole lines and at most one torn one.
"""

import contextlib
import fcntl
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tb import plan, totals
from tb.testbench import Table
from tb.work import Result


class JournalError(Exception):
    """There is nothing to go on with: one line that says why and the mend."""


class Journal:
    """The journal of the run with this header; `done` has the results in it already."""

    def __init__(self, directory: Path, header: dict[str, Any], resume: bool):
        first = json.dumps(header)
        name = hashlib.sha256(first.encode()).hexdigest()[:16]
        self._path = directory / f"{name}.jsonl"
        if resume and not self._path.exists():
            raise JournalError(f"nothing to resume: {_why(directory, header)}")
        directory.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b")
        try:
            self._lock()
            self.done = self._read() if resume else []
            if not self.done:
                self._file.truncate(0)
                self._append(first)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        try:
            # Not flock(): workers would inherit it, and may outlive a run that is killed.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why = "another process does this very run; wait for it, or end it"
            raise JournalError(f"{self._path}: {why}") from None

    def _read(self) -> list[Result]:
        """The results in the file, from which a torn last line is cut off."""
        self._file.seek(0)
        done: list[Result] = []
        self._file.readline()
        end = self._file.tell()
        for line in self._file:
            try:
                result = _result(json.loads(line))
            except (ValueError, TypeError, LookupError):
                break
            if not line.endswith(b"\n"):
                break
            done.append(result)
            end += len(line)
        self._file.truncate(end)
        return done

    def add(self, result: Result) -> None:
        """One more result. OSError, with the file's name, if it cannot be written."""
        self._append(json.dumps(_record(result)))

    def _append(self, line: str) -> None:
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    def close(self, finished: bool) -> None:
        """Of a run that is finished nothing stays."""
        if finished:
            self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what could not be written, was told
            self._file.close()


def _why(directory: Path, header: dict[str, Any]) -> str:
    """Why there is no journal for the header."""
    others = sorted(directory.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    if not others:
        return "no run was stopped here; leave out --resume"
    try:
        with others[-1].open() as file:
            theirs = json.loads(file.readline())
        differs = plan.difference(header, theirs)
    except (ValueError, AttributeError):
        differs = None
    text = f"the run that was stopped here had {differs or 'another plan'}"
    return f"{text}; ask for the same, or leave out --resume"


def _record(result: Result) -> dict[str, Any]:
    hit = np.flatnonzero(result.counts)
    return {
        **{name: value for name, value in asdict(result).items() if name != "counts"},
        "counts": [hit.tolist(), result.counts[hit].tolist()],
        "waves": str(result.waves) if result.waves else None,
    }


def _result(record: dict[str, Any]) -> Result:
    counts = totals.none()
    bins, hits = record["counts"]
    counts[bins] = hits
    waves = Path(record["waves"]) if record["waves"] else None
    tables = [Table(**table) for table in record["tables"]]
    return Result(**{**record, "counts": counts, "waves": waves, "tables": tables})
