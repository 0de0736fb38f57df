"""From bit diagrams to instructions.

A diagram is the encoding as the manual draws it, bit 31 first: `sf 01 100100 N immr:6 imms:6 Rn:5
Rd:5`. A token of 0s and 1s is fixed; a name is a field, of one bit unless `:width` follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from model.a64.exceptions import Undefined
from model.arch import Event, Field

if TYPE_CHECKING:
    from model.a64.state import State

WORD_BITS = 32
LINK = 30  #: the register that holds the return address

#: Executes one instruction. Returns the address branched to, or None for the next instruction.
Operation = Callable[["State"], int | None]


#: Bits of which most are fixed in every row: where a search for the row of a word begins.
_GROUP = Field(21, 8)

#: Decoded words that are kept: more than a program has.
_KEPT = 1 << 17


class UndefinedWord(Undefined):
    """No row matches the word, or the manual reserves this use of the row that does."""


class Reserved(Exception):
    """Raised by a row's `build` for fields that the manual reserves: the text says which."""


@dataclass(frozen=True, slots=True)
class Row:
    """One encoding: the words `w` with `w & mask == value`."""

    name: str  #: the instruction under Arm's heading, such as "ADD (immediate)"
    mask: int  #: 32 bits: the fixed ones
    value: int  #: 32 bits: what they are fixed to
    fields: dict[str, Field]  #: the other bits, by the diagram's names
    build: Callable[..., Operation]  #: called with the field values by name; may raise Reserved
    event: Event  #: what has happened when the instruction completes
    writes: tuple[str, ...] = ()  #: the registers that it writes, as `row` has them

    def matches(self, word: int) -> bool:
        """Whether the word is of this encoding."""
        return word & self.mask == self.value

    def overlaps(self, other: Row) -> bool:
        """Whether some word is of both encodings."""
        return (self.value ^ other.value) & self.mask & other.mask == 0


class Written(NamedTuple):
    """The general-purpose registers that an instruction writes: slots of `State.x`, or None."""

    first: int | None = None  #: Rd, Rt of a load, Rs, or the link register
    second: int | None = None  #: Rt2 of a load
    base: int | None = None  #: Rn, of an instruction that writes its base back


NOTHING_WRITTEN = Written()


@dataclass(frozen=True, slots=True)
class Instruction:
    """A decoded word, ready to execute anywhere: nothing in it depends on its address."""

    name: str
    word: int
    fields: dict[str, int]
    execute: Operation
    event: Event
    written: Written = NOTHING_WRITTEN


def row(
    name: str,
    diagram: str,
    build: Callable[..., Operation],
    event: Event = Event.EXECUTE,
    writes: str = "",
) -> Row:
    """The row of a diagram. ValueError if the diagram has not 32 bits or names a field twice.

    `writes` names the fields that number a register which the instruction writes, with `|SP` where
    31 is the stack pointer; X30 is the link register. Without it, it writes Rd if it has one.
    """
    mask = value = 0
    fields: dict[str, Field] = {}
    lsb = WORD_BITS
    for token in diagram.split():
        token_name, _, width_text = token.partition(":")
        is_fixed = set(token) <= {"0", "1"}
        width = len(token) if is_fixed else int(width_text or 1)
        lsb -= width
        if lsb < 0 or token_name in fields:
            raise ValueError(f"{name}: more than {WORD_BITS} bits, or a field twice, at {token!r}")
        field = Field(lsb, width)
        if is_fixed:
            mask |= field.mask
            value |= field.put(int(token, 2))
        else:
            fields[token_name] = field
    if lsb:
        raise ValueError(f"{name}: the diagram has {WORD_BITS - lsb} bits, not {WORD_BITS}")
    written = writes.split() or (["Rd"] if "Rd" in fields else [])
    return Row(name, mask, value, fields, build, event, tuple(written))


class Decoder:
    """Decodes words against a set of rows of which no two overlap. Each word is decoded once."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)
        self._decoded: dict[int, Instruction] = {}
        self._with_group: dict[int, tuple[Row, ...]] = {}

    def decode(self, word: int, address: int) -> Instruction:
        """The instruction of a 32-bit word. UndefinedWord, naming `address`, if there is none."""
        instruction = self._decoded.get(word)
        if instruction is None:
            if len(self._decoded) >= _KEPT:
                self._decoded.clear()
            instruction = self._decoded[word] = self._decode(word, address)
        return instruction

    def _decode(self, word: int, address: int) -> Instruction:
        for candidate in self._rows_with_group(_GROUP.get(word)):
            if candidate.matches(word):
                break
        else:
            raise UndefinedWord(
                f"{word:#010x} at {address:#x} is no instruction that is known here"
            )
        fields = {name: field.get(word) for name, field in candidate.fields.items()}
        try:
            execute = candidate.build(**fields)
        except Reserved as reserved:
            raise UndefinedWord(
                f"{word:#010x} at {address:#x} is a reserved {candidate.name}: {reserved}"
            ) from None
        written = _written(candidate.writes, fields)
        return Instruction(candidate.name, word, fields, execute, candidate.event, written)

    def _rows_with_group(self, group: int) -> tuple[Row, ...]:
        """The rows of which some word has these bits of the group."""
        found = self._with_group.get(group)
        if found is None:
            bits = _GROUP.put(group)
            found = tuple(
                row for row in self.rows if not (row.value ^ bits) & row.mask & _GROUP.mask
            )
            self._with_group[group] = found
        return found


def _written(writes: tuple[str, ...], fields: dict[str, int]) -> Written:
    """The slots of the registers that `writes` names. A write to XZR is none."""
    slots: dict[str, int | None] = {}
    for text in writes:
        name, _, sp = text.partition("|")
        number = LINK if name == "X30" else fields[name]
        member = {"Rt2": "second", "Rn": "base"}.get(name, "first")
        slots[member] = number if number != 31 or sp else None
    return Written(**slots)
