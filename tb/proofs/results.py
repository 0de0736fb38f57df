"""What became of each claim when it was last tried: a file for each, for the page of a run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tb import report
from tb.plan import VERSION
from tb.proofs.claims import Status

NAME = "result.json"


class ResultError(Exception):
    """A file that is there and cannot be used."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a claim."""

    status: Status
    reason: str
    extent: str  #: depth or inputs
    seconds: float
    table: list[list[str]]  #: of a counterexample: a header, then rows
    history: list[str]
    waves: Path | None
    reproduce: str
    current: bool  #: it is of this version of the code


def write(directory: Path, record: Mapping[str, Any]) -> None:
    """Keep the record of a claim in its directory. Raises OSError."""
    report.write(directory / NAME, json.dumps({**record, "version": VERSION}, indent=2) + "\n")


def read(directory: Path) -> Kept | None:
    """What is kept there, if anything is. ResultError."""
    path = directory / NAME
    try:
        return _kept(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise ResultError(f"{path} cannot be read") from None


def _kept(content: Any) -> Kept:
    texts = ("reason", "extent", "reproduce")
    return Kept(
        **{name: str(content[name]) for name in texts},
        status=Status(content["status"]),
        seconds=float(content["seconds"]),
        table=[[str(cell) for cell in row] for row in content["table"]],
        history=[str(line) for line in content["history"]],
        waves=Path(content["waves"]) if content["waves"] else None,
        current=content["version"] == VERSION,
    )
