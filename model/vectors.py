"""The vector file: CSV, one PE state and one event a line.

Reading checks every line before anything is run; writing is atomic. Both stream: memory holds one
chunk of lines, whatever the length of the file. The columns are documented in `COLUMNS` and
`OUTPUTS`; what an event does is `model.machine`.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from model.arch import EL, Event, Last, StepState
from model.files import writing
from model.machine import PE, Input, take
from model.rules import U8, U64, Bool, EL2Enabled, ELUsingAArch32, u8

CHUNK = 16384  #: lines held in memory at a time

_NONE = 0xFF  #: in the array of an optional U8 column: the cell is empty


class VectorError(Exception):
    """A vector file that cannot be used: its text names the file, the line and the column."""


class Kind(Enum):
    """What the cells of a column hold."""

    FLAG = auto()  #: 0 or 1
    EL = auto()  #: 0 to 3
    REGISTER = auto()  #: 64 bits, hexadecimal (0x...) or decimal
    EVENT = auto()  #: the name of an Event
    LAST = auto()  #: the name of a Last


@dataclass(frozen=True, slots=True)
class Column:
    """An input column. `default` None: empty means "no" (or is an error, for `event`)."""

    name: str
    kind: Kind
    default: int | None
    meaning: str

    @property
    def empty(self) -> int:
        """The value in the array where a cell is empty."""
        if self.default is not None:
            return self.default
        return 0 if self.kind is Kind.REGISTER else _NONE


COLUMNS = (
    Column("el", Kind.EL, 1, "current EL"),
    Column("d", Kind.FLAG, 0, "PSTATE.D"),
    Column("ss", Kind.FLAG, 0, "PSTATE.SS"),
    Column("il", Kind.FLAG, 0, "PSTATE.IL"),
    Column("mdscr_el1", Kind.REGISTER, 0, "MDSCR_EL1"),
    Column("mdcr_el2", Kind.REGISTER, 0, "MDCR_EL2"),
    Column("hcr_el2", Kind.REGISTER, 0, "HCR_EL2"),
    Column("mdcr_el3", Kind.REGISTER, 0, "MDCR_EL3"),
    Column("sder32_el3", Kind.REGISTER, 0, "SDER32_EL3"),
    Column("oslsr_el1", Kind.REGISTER, 0, "OSLSR_EL1"),
    Column("scr_el3", Kind.REGISTER, 1, "SCR_EL3"),
    Column("double_lock", Kind.FLAG, 0, "DLK and not CORENPDRQ, where implemented"),
    Column("halted", Kind.FLAG, 0, "the PE is in Debug state"),
    Column("el1_aarch32", Kind.FLAG, 0, "EL1 uses AArch32"),
    Column("el2_aarch32", Kind.FLAG, 0, "EL2 uses AArch32"),
    Column("have_el2", Kind.FLAG, 1, "EL2 is implemented"),
    Column("have_el3", Kind.FLAG, 1, "EL3 is implemented"),
    Column("have_sel2", Kind.FLAG, 1, "Secure EL2 is implemented"),
    Column("last", Kind.LAST, Last.NOTHING, "what the PE did before this line"),
    Column("isv_choice", Kind.FLAG, 1, "choice: ISV where `last` leaves it open"),
    Column("event", Kind.EVENT, None, "what the PE does next"),
    Column("target_el", Kind.EL, None, "EL that an exception is taken to"),
    Column("spsr", Kind.REGISTER, 0, "SPSR_ELx for eret, DSPSR for debug_exit"),
    Column("d_write", Kind.FLAG, None, "value that the instruction writes to PSTATE.D"),
    Column("mdscr_write", Kind.REGISTER, None, "value that the instruction writes to MDSCR_EL1"),
    Column("mdscr_seen", Kind.FLAG, 1, "choice: 1 = that write is seen at once"),
    Column("async_first", Kind.FLAG, 0, "choice: an interrupt comes before a pending step"),
)

_BY_NAME = {column.name: column for column in COLUMNS}
_ORDER = {column.name: at for at, column in enumerate(COLUMNS)}
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|[0-9]+", re.ASCII)
_TAKES_TARGET = (Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION, Event.INTERRUPT)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines: as arrays of shape (n,), and as text to be written back as it came."""

    pe: PE
    given: Input
    has_target: Bool  #: target_el is given
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int]  #: line numbers in the file

    def __len__(self) -> int:
        return len(self.rows)


# Cells


def _names(members: Iterable[Any]) -> dict[str, int]:
    return {member.text: int(member) for member in members}


_CELLS = {
    Kind.FLAG: {"0": 0, "1": 1},
    Kind.EL: {"0": 0, "1": 1, "2": 2, "3": 3},
    Kind.EVENT: _names(Event),
    Kind.LAST: _names(Last),
}


def _expects(kind: Kind) -> str:
    if kind is Kind.REGISTER:
        return "a number of at most 64 bits, hexadecimal (0x...) or decimal"
    return "one of " + ", ".join(_CELLS[kind])


def _register(cell: str) -> int:
    """ValueError if the cell is no number, or too large."""
    if not _NUMBER.fullmatch(cell):
        raise ValueError("no number")
    value = int(cell, 16 if cell.startswith("0x") else 10)
    if value >> 64:
        raise ValueError("too large")
    return value


def _parser(column: Column) -> Callable[[str], int]:
    """A function from a cell to its value; KeyError or ValueError if it is ill-formed."""
    if column.kind is Kind.REGISTER:
        return lambda cell: _register(cell) if cell else column.empty
    cells = _CELLS[column.kind]
    return (cells if column.name == "event" else cells | {"": column.empty}).__getitem__


def parse_cell(column: Column, cell: str) -> int:
    """The value of one cell. ValueError says what it should have been."""
    try:
        return _parser(column)(cell)
    except (KeyError, ValueError):
        raise ValueError(f"{cell[:40]!r} is not {_expects(column.kind)}") from None


# Lines


def _check_header(cells: list[str], where: str) -> None:
    if not cells:
        raise VectorError(f"{where}: no header line; the first line names the columns")
    for cell in cells:
        if cell not in _BY_NAME:
            known = ", ".join(_BY_NAME)
            raise VectorError(f"{where}: unknown column {cell[:40]!r}; the columns are {known}")
        if cells.count(cell) > 1:
            raise VectorError(f"{where}: column {cell!r} stands there twice; keep one")
    if "event" not in cells:
        raise VectorError(f"{where}: column 'event' is missing; it has no default")


class _Lines:
    """The lines of a file that are not comments, and the number of the last one given."""

    def __init__(self, file: IO[str]):
        self.file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.number += 1
            if not line.startswith("#"):
                yield line


def _to_chunk(header: list[Column], rows: list[list[str]], numbers: list[int], path: Path) -> Chunk:
    """Cells to arrays. VectorError names the first ill-formed cell in file order."""
    for row, number in zip(rows, numbers, strict=True):
        if len(row) < len(header):
            missing = header[len(row)].name
            raise VectorError(
                f"{path}:{number}: column {missing!r} is missing: the line has {len(row)} cells, "
                f"the header {len(header)}"
            )
        if len(row) > len(header):
            raise VectorError(
                f"{path}:{number}: cell {len(header) + 1} ({row[len(header)]!r}) has no column: "
                f"the header has {len(header)}"
            )
    cells = dict(zip((c.name for c in header), zip(*rows, strict=True), strict=True))
    try:
        values = {c.name: _array(c, list(map(_parser(c), cells[c.name]))) for c in header}
    except (KeyError, ValueError):
        raise _ill_formed(header, rows, numbers, path) from None
    return _assemble(values, cells, rows, numbers)


def _ill_formed(
    header: list[Column], rows: list[list[str]], numbers: list[int], path: Path
) -> VectorError:
    for row, number in zip(rows, numbers, strict=True):
        for column, cell in zip(header, row, strict=True):
            try:
                parse_cell(column, cell)
            except ValueError as error:
                return VectorError(f"{path}:{number}: column {column.name!r}: {error}")
    raise AssertionError("no cell is ill-formed")


def _array(column: Column, values: Any) -> Any:
    if column.kind is Kind.REGISTER:
        return np.array(values, dtype=np.uint64)
    if column.kind is Kind.FLAG and column.default is not None:
        return np.array(values, dtype=np.bool_)
    return np.array(values, dtype=np.uint8)


def _assemble(
    values: dict[str, Any],
    cells: dict[str, tuple[str, ...]],
    rows: list[list[str]],
    numbers: list[int],
) -> Chunk:
    """Arrays of the columns given, and the defaults of the others, to a Chunk."""
    size = len(rows)
    for column in COLUMNS:
        if column.name not in values:
            values[column.name] = _array(column, [column.empty] * size)
    mdscr_write = np.array([cell != "" for cell in cells.get("mdscr_write", ("",) * size)])
    el, el1_aarch32, el2_aarch32 = values["el"], values["el1_aarch32"], values["el2_aarch32"]
    pe = PE(
        nrw=((el <= EL.EL1) & el1_aarch32) | ((el == EL.EL2) & el2_aarch32),
        mdscr_el1_written=values["mdscr_el1"],
        **{name: values[name] for name in _PE_COLUMNS},
    )
    given = Input(
        event=values["event"],
        target_el=values["target_el"] & 3,
        spsr=values["spsr"],
        d_write=values["d_write"] != _NONE,
        d_value=values["d_write"] == 1,
        mdscr_write=mdscr_write,
        mdscr_value=values["mdscr_write"],
        mdscr_seen=values["mdscr_seen"],
        async_first=values["async_first"],
        isv_choice=values["isv_choice"],
    )
    return Chunk(pe, given, values["target_el"] != _NONE, rows, numbers)


_PE_COLUMNS = tuple(
    name for name in PE.__dataclass_fields__ if name not in ("nrw", "mdscr_el1_written")
)


# What a line must not say


def _problems(chunk: Chunk) -> Iterator[tuple[Bool, str, str]]:
    """(lines, column, what is wrong there and what would be right) for each rule of the format."""
    pe, given = chunk.pe, chunk.given
    c = pe.controls()
    el2_enabled = EL2Enabled(c)
    event, target = given.event, given.target_el
    takes_target = np.isin(event, _TAKES_TARGET)
    has_target = takes_target & chunk.has_target

    def absent(el: U8) -> Bool:
        is_el2: Bool = el == EL.EL2
        is_el3: Bool = el == EL.EL3
        return (is_el2 & ~pe.have_el2) | (is_el3 & ~pe.have_el3)

    yield absent(pe.el), "el", "that EL is not implemented (have_el2, have_el3)"
    no_el2 = pe.have_el2 & ~el2_enabled
    not_enabled = "EL2 is not enabled in Secure state (scr_el3.NS = 0 needs have_sel2 and EEL2)"
    yield (pe.el == EL.EL2) & no_el2, "el", not_enabled
    lone_el2 = pe.have_el2 & pe.el2_aarch32
    yield lone_el2 & ~pe.el1_aarch32, "el2_aarch32", "EL2 uses AArch32 only where EL1 does"
    secure_el2 = lone_el2 & ~c.ns & el2_enabled
    yield secure_el2, "el2_aarch32", "Secure EL2 never uses AArch32"
    is_exit = event == Event.DEBUG_EXIT
    yield pe.halted & ~is_exit, "halted", "in Debug state the event is debug_exit"
    yield is_exit & ~pe.halted, "halted", "debug_exit needs halted = 1"

    yield takes_target & ~chunk.has_target, "target_el", "this event needs the EL it is taken to"
    yield has_target & absent(target), "target_el", "that EL is not implemented"
    yield has_target & (target == EL.EL2) & no_el2, "target_el", not_enabled
    too_low = has_target & (target < np.maximum(pe.el, u8(EL.EL1)))
    yield too_low, "target_el", "an exception never goes below the current EL, nor to EL0"
    to_aarch32 = has_target & ELUsingAArch32(c, target)
    yield to_aarch32, "target_el", "that EL uses AArch32; exceptions here are taken to AArch64"

    eret = event == Event.ERET
    yield eret & (pe.el == EL.EL0), "event", "there is no eret at EL0"
    yield (
        (eret | is_exit) & pe.nrw,
        "event",
        "a return starts in AArch64 state, the PE is in AArch32",
    )

    executes = event == Event.EXECUTE
    yield given.d_write & ~executes, "d_write", "only execute writes PSTATE.D"
    yield given.mdscr_write & ~executes, "mdscr_write", "only execute writes MDSCR_EL1"
    both = given.d_write & given.mdscr_write
    yield both, "mdscr_write", "one instruction writes PSTATE.D or MDSCR_EL1, not both"
    yield given.mdscr_write & (pe.el == EL.EL0), "mdscr_write", "EL0 cannot write MDSCR_EL1"
    yield given.d_write & pe.nrw, "d_write", "AArch32 state has no PSTATE.D"

    effect = take(pe, given)
    to_aarch32 = effect.illegal_state & ~effect.spsr_saved
    yield to_aarch32, "il", "the Illegal Execution state exception would go to AArch32"


def _check(chunk: Chunk, path: Path) -> None:
    """VectorError for the first line that says what it must not."""
    found = [
        (int(lines.argmax()), _ORDER[column], column, text)
        for lines, column, text in _problems(chunk)
        if lines.any()
    ]
    if found:
        at, _, column, text = min(found)
        raise VectorError(f"{path}:{chunk.numbers[at]}: column {column!r}: {text}")


# The file


class VectorFile:
    """A vector file: its header, and its lines in chunks. Every error is a VectorError."""

    def __init__(self, path: Path):
        if not path.is_file():
            raise VectorError(f"{path}: not a file; --vectors takes a CSV file")
        self.path = path
        #: the header's column names, as they came
        self.header: list[str] = []
        for _ in self._records():
            break

    def chunks(self, size: int = CHUNK) -> Iterator[Chunk]:
        """The lines, at most `size` at a time, each checked."""
        rows: list[list[str]] = []
        numbers: list[int] = []
        for number, row in self._records():
            rows.append(row)
            numbers.append(number)
            if len(rows) == size:
                yield self._chunk(rows, numbers)
                rows, numbers = [], []
        if rows:
            yield self._chunk(rows, numbers)

    def check(self) -> int:
        """Read the whole file and return the number of its lines. No line at all is an error."""
        lines = sum(len(chunk) for chunk in self.chunks())
        if not lines:
            raise VectorError(f"{self.path}: there is no line below the header; nothing to run")
        return lines

    def _chunk(self, rows: list[list[str]], numbers: list[int]) -> Chunk:
        chunk = _to_chunk([_BY_NAME[name] for name in self.header], rows, numbers, self.path)
        _check(chunk, self.path)
        return chunk

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """(line number, cells) of each line after the header; the header is read on the way."""
        try:
            # Bytes that are not UTF-8 become a cell that is ill-formed, and so named with its line.
            with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                lines = _Lines(file)
                try:
                    records = ((lines.number, row) for row in csv.reader(lines, strict=True) if row)
                    number, self.header = next(records, (lines.number, []))
                    _check_header(self.header, f"{self.path}:{number}")
                    yield from records
                except csv.Error as error:
                    where = f"{self.path}:{lines.number}"
                    raise VectorError(f"{where}: not a line of CSV: {error}") from None
        except OSError as error:
            raise VectorError(f"{self.path}: cannot be read: {error.strerror}") from None


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
    effect = take(chunk.pe, chunk.given)
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
    cells = zip(chunk.rows, zip(*columns, strict=True), strict=True)
    return "".join(",".join((*row, *outputs)) + "\n" for row, outputs in cells)


Answer = Callable[[Iterator[Chunk]], Iterator[tuple[Chunk, Outputs]]]


def run(source: Path, destination: Path, answer: Answer) -> int:
    """Check `source`, then write `destination` with what `answer` says of its lines.

    Returns the number of lines. VectorError if either file cannot be used; then `destination` is
    as it was.
    """
    file = VectorFile(source)
    lines = file.check()
    try:
        with writing(destination) as out:
            out.write(",".join((*file.header, *OUTPUTS)) + "\n")
            for chunk, outputs in answer(file.chunks()):
                out.write(format_lines(chunk, outputs))
    except OSError as error:
        raise VectorError(f"{destination}: cannot be written: {error.strerror}") from None
    return lines


def model_answer(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Outputs]]:
    """The model's side of `run`."""
    for chunk in chunks:
        yield chunk, expected(chunk)
