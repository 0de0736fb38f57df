"""The vector file: CSV, one PE state and one event a line.

Reading checks every line before anything is run; writing is atomic. Both stream: memory holds one
chunk of lines, whatever the length of the file. The input columns are `model.columns`, the output
columns `Outputs`; what an event does is `model.machine`.
"""

import csv
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from model.arch import StepState
from model.columns import BY_NAME, Lines, parse_cell, parser, problems, to_lines
from model.files import writing
from model.machine import take
from model.rules import U8, U64, Bool

CHUNK = 8192  #: lines held in memory at a time


class VectorError(Exception):
    """A vector file that cannot be used: its text names the file, the line and the column."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines: as arrays of shape (n,), and as text to be written back as it came."""

    lines: Lines
    texts: Sequence[str]  #: without the line ends
    numbers: Sequence[int]  #: line numbers in the file

    def __len__(self) -> int:
        return len(self.texts)


# Lines


def _check_header(cells: list[str], where: str) -> None:
    for cell in cells:
        if cell not in BY_NAME:
            known = ", ".join(BY_NAME)
            raise VectorError(f"{where}: unknown column {cell[:40]!r}; the columns are {known}")
        if cells.count(cell) > 1:
            raise VectorError(f"{where}: column {cell!r} stands there twice; keep one")
    if "event" not in cells:
        raise VectorError(f"{where}: column 'event' is missing; it has no default")


class _Line(NamedTuple):
    number: int
    text: str  #: without the line end
    cells: list[str]


def _cells_of(text: str, where: str) -> list[str]:
    """The cells of one line: no cell spans lines, so a mistake is named where it is."""
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise VectorError(f"{where}: not a line of CSV: {error}") from None


def _to_chunk(header: list[str], lines: list[_Line], path: Path) -> Chunk:
    """Cells to arrays. VectorError names a line that cannot be used."""
    numbers, texts, rows = zip(*lines, strict=True)
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != len(header):
            raise VectorError(f"{path}:{number}: {_wrong_length(header, row)}")
    cells = dict(zip(header, zip(*rows, strict=True), strict=True))
    try:
        values = {name: list(map(parser(BY_NAME[name]), column)) for name, column in cells.items()}
    except (KeyError, ValueError):
        raise VectorError(_ill_formed(header, rows, numbers, path)) from None
    optional = ("target_el", "d_write", "mdscr_write")
    present = {name: np.array(cells[name]) != "" for name in optional if name in cells}
    chunk = Chunk(to_lines(values, present), texts, numbers)
    _check(chunk, path)
    return chunk


def _wrong_length(header: list[str], row: list[str]) -> str:
    lengths = f"the line has {len(row)} cells, the header {len(header)}"
    if len(row) < len(header):
        return f"column {header[len(row)]!r}: the cell is missing: {lengths}"
    return f"column {len(header) + 1}: the header has no such column: {lengths}"


def _ill_formed(
    header: list[str], rows: Sequence[list[str]], numbers: Sequence[int], path: Path
) -> str:
    """What is wrong with the first ill-formed cell."""
    for row, number in zip(rows, numbers, strict=True):
        for name, cell in zip(header, row, strict=True):
            try:
                parse_cell(BY_NAME[name], cell)
            except ValueError as error:
                return f"{path}:{number}: column {name!r}: {error}"
    raise AssertionError("every cell is well-formed")


def _check(chunk: Chunk, path: Path) -> None:
    """VectorError for the first line that says what it must not."""
    found = [
        (int(wrong.argmax()), column, text)
        for wrong, column, text in problems(chunk.lines)
        if wrong.any()
    ]
    if found:
        at, column, text = min(found, key=lambda problem: problem[0])
        raise VectorError(f"{path}:{chunk.numbers[at]}: column {column!r}: {text}")


# The file


class VectorFile:
    """A vector file: its header, and its lines in chunks. Every error is a VectorError."""

    def __init__(self, path: Path):
        try:
            is_file = path.is_file()
        except OSError as error:
            raise VectorError(f"{path}: cannot be read: {error.strerror}") from None
        if not is_file:
            raise VectorError(f"{path}: not a file; --vectors takes a CSV file")
        self.path = path
        #: the header's line, as it came, and its column names
        self.header_text, self.header = "", list[str]()
        for _ in self._lines():
            break

    def chunks(self, size: int = CHUNK) -> Generator[Chunk, None, None]:
        """The lines, at most `size` at a time, each checked."""
        lines: list[_Line] = []
        for line in self._lines():
            lines.append(line)
            if len(lines) == size:
                yield _to_chunk(self.header, lines, self.path)
                lines = []
        if lines:
            yield _to_chunk(self.header, lines, self.path)

    def check(self) -> int:
        """Read the whole file and return the number of its lines. No line at all is an error."""
        lines = sum(len(chunk) for chunk in self.chunks())
        if not lines:
            raise VectorError(f"{self.path}: there is no line below the header; nothing to run")
        return lines

    def _lines(self) -> Iterator[_Line]:
        """The lines after the header; the header is read on the way."""
        try:
            # Bytes that are not UTF-8 become a cell that is ill-formed, and so named with its line.
            with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                found = self._not_comments(file)
                first = next(found, None)
                if first is None:
                    why = "no header line; the first line names the columns"
                    raise VectorError(f"{self.path}: {why}")
                self.header_text, self.header = first.text, first.cells
                _check_header(first.cells, f"{self.path}:{first.number}")
                yield from found
        except OSError as error:
            raise VectorError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _not_comments(self, file: IO[str]) -> Iterator[_Line]:
        for number, line in enumerate(file, 1):
            text = line.rstrip("\r\n")
            if text and not text.startswith("#"):
                yield _Line(number, text, _cells_of(text, f"{self.path}:{number}"))


# Outputs


class Outputs(NamedTuple):
    """The output columns of some lines, as arrays of shape (n,). 0 where the file has no value."""

    eld: U8
    enabled: Bool
    state: U8
    step_exception: Bool
    el_after: U8
    d_after: Bool
    ss_after: Bool
    il_after: Bool
    state_after: U8
    esr: U64
    spsr_ss: Bool
    spsr_saved: Bool  #: whether there is an spsr_ss


def expected(chunk: Chunk) -> Outputs:
    """What the model says of some lines."""
    effect = take(chunk.lines.pe, chunk.lines.given)
    return Outputs(*(getattr(effect, name) for name in Outputs._fields))


#: the output columns, in the order of the file
OUTPUTS = Outputs._fields[:-1]

_BIT = ("0", "1")
_STATES = [state.text for state in StepState]


def _cells(column: str, out: Outputs) -> list[str]:
    values = getattr(out, column).tolist()
    if column in ("state", "state_after"):
        return [_STATES[value] for value in values]
    if column == "esr":
        taken = out.step_exception.tolist()
        return [f"0x{v:08X}" if t else "" for v, t in zip(values, taken, strict=True)]
    if column == "spsr_ss":
        saved = out.spsr_saved.tolist()
        return [_BIT[v] if s else "" for v, s in zip(values, saved, strict=True)]
    return [str(int(value)) for value in values]


def format_lines(chunk: Chunk, out: Outputs) -> str:
    """The lines of an output file: the input cells as they came, then the output cells."""
    columns = [_cells(name, out) for name in OUTPUTS]
    answers = zip(*columns, strict=True)
    return "".join(f"{text},{','.join(a)}\n" for text, a in zip(chunk.texts, answers, strict=True))


Answer = Callable[[Iterator[Chunk]], Iterator[tuple[Chunk, Outputs]]]


def run(source: Path, destination: Path, answer: Answer) -> int:
    """Check `source`, then write `destination` with what `answer` says of its lines.

    Returns the number of lines. VectorError if either file cannot be used; then `destination` is
    as it was.
    """
    file = VectorFile(source)
    lines = file.check()
    try:
        # Closed here: if the answer breaks off, its traceback would hold the file open.
        with writing(destination) as out, closing(file.chunks()) as chunks:
            out.write(",".join((file.header_text, *OUTPUTS)) + "\n")
            for chunk, outputs in answer(chunks):
                out.write(format_lines(chunk, outputs))
    except OSError as error:
        raise VectorError(f"{destination}: cannot be written: {error.strerror}") from None
    return lines


def model_answer(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Outputs]]:
    """The model's side of `run`."""
    for chunk in chunks:
        yield chunk, expected(chunk)
