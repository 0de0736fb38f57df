"""The input columns of the vector file: how a line says what a PE is and what it does next.

One `Lines` holds any number of lines as arrays of shape (n,). `problems` says what a line must not
say. The file around the lines is `model.vectors`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from model.arch import EL, Event, Last
from model.machine import PE, Input, take
from model.rules import U8, Bool, EL2Enabled, ELUsingAArch32, u8


class Kind(Enum):
    """What the cells of a column hold."""

    FLAG = auto()  #: 0 or 1
    EL = auto()  #: 0 to 3
    REGISTER = auto()  #: 64 bits, hexadecimal (0x...) or decimal
    EVENT = auto()  #: the name of an Event
    LAST = auto()  #: the name of a Last


@dataclass(frozen=True, slots=True)
class Column:
    """An input column. `default` None: an empty cell gives nothing (an error, for `event`)."""

    name: str
    kind: Kind
    default: int | None
    meaning: str


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

BY_NAME = {column.name: column for column in COLUMNS}

_TAKES_TARGET = (Event.SVC, Event.HVC, Event.SMC, Event.EXCEPTION, Event.INTERRUPT)
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|[0-9]+", re.ASCII)


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


def parser(column: Column) -> Callable[[str], int]:
    """A function from a cell to its value; KeyError or ValueError if it is ill-formed."""
    empty = column.default or 0
    if column.kind is Kind.REGISTER:
        return lambda cell: _register(cell) if cell else empty
    cells = _CELLS[column.kind]
    return (cells if column.name == "event" else cells | {"": empty}).__getitem__


def parse_cell(column: Column, cell: str) -> int:
    """The value of one cell. ValueError says what it should have been."""
    try:
        return parser(column)(cell)
    except (KeyError, ValueError):
        raise ValueError(f"{cell[:40]!r} is not {_expects(column.kind)}") from None


# Lines


@dataclass(frozen=True, slots=True)
class Lines:
    """PE states and events, arrays of shape (n,)."""

    pe: PE
    given: Input
    has_target: Bool  #: target_el is given


_DTYPES = {Kind.FLAG: np.bool_, Kind.REGISTER: np.uint64}
_PE_COLUMNS = [name for name in PE.__dataclass_fields__ if name in BY_NAME]


def to_lines(values: Mapping[str, Any], present: Mapping[str, Any] | None = None) -> Lines:
    """Lines from columns: name to values, all of one shape (or scalars); the rest take defaults.

    `present` says of target_el, d_write and mdscr_write where they are given; without it they are
    given everywhere or, if `values` does not have them, nowhere.
    """
    shape = np.broadcast_shapes(*(np.shape(value) for value in values.values()))
    has = {name: name in values for name in ("target_el", "d_write", "mdscr_write")}
    has |= dict(present or {})

    def column(name: str) -> Any:
        known = BY_NAME[name]
        dtype: Any = _DTYPES.get(known.kind, np.uint8)
        value: Any = np.asarray(values.get(name, known.default or 0), dtype=dtype)
        return np.broadcast_to(value, shape)[()]

    def given(name: str) -> Any:
        return np.broadcast_to(np.asarray(has[name], dtype=np.bool_), shape)[()]

    el, el1_aarch32, el2_aarch32 = column("el"), column("el1_aarch32"), column("el2_aarch32")
    pe = PE(
        # EL0 uses AArch32 exactly when EL1 does.
        nrw=((el <= EL.EL1) & el1_aarch32) | ((el == EL.EL2) & el2_aarch32),
        mdscr_el1_written=column("mdscr_el1"),
        **{name: column(name) for name in _PE_COLUMNS},
    )
    event = Input(
        event=column("event"),
        target_el=column("target_el"),
        spsr=column("spsr"),
        d_write=given("d_write"),
        d_value=column("d_write"),
        mdscr_write=given("mdscr_write"),
        mdscr_value=column("mdscr_write"),
        mdscr_seen=column("mdscr_seen"),
        async_first=column("async_first"),
        isv_choice=column("isv_choice"),
    )
    return Lines(pe, event, given("target_el"))


# What a line must not say


def problems(lines: Lines) -> Iterator[tuple[Bool, str, str]]:
    """(lines, column, what is wrong there and what would be right) for each rule of the format."""
    pe, given = lines.pe, lines.given
    c = pe.controls()
    el2_enabled = EL2Enabled(c)
    event, target = given.event, given.target_el
    takes_target = np.isin(event, _TAKES_TARGET)
    has_target = takes_target & lines.has_target

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

    yield takes_target & ~lines.has_target, "target_el", "this event needs the EL it is taken to"
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
