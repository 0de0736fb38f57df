"""From bit diagrams to instructions.

A diagram is the encoding as the manual draws it, bit 31 first: `sf 01 100100 N immr:6 imms:6 Rn:5
Rd:5`. A token of 0s and 1s is fixed; a name is a field, of one bit unless `:width` follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.a64 import A64Error
from model.arch import Event, Field

if TYPE_CHECKING:
    from model.a64.state import State

WORD_BITS = 32

#: Executes one instruction. Returns the address branched to, or None for the next instruction.
Operation = Callable[["State"], int | None]


class UndefinedWord(A64Error):
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

    def matches(self, word: int) -> bool:
        """Whether the word is of this encoding."""
        return word & self.mask == self.value

    def overlaps(self, other: Row) -> bool:
        """Whether some word is of both encodings."""
        return (self.value ^ other.value) & self.mask & other.mask == 0


@dataclass(frozen=True, slots=True)
class Instruction:
    """A decoded word, ready to execute anywhere: nothing in it depends on its address."""

    name: str
    word: int
    fields: dict[str, int]
    execute: Operation
    event: Event


def row(
    name: str, diagram: str, build: Callable[..., Operation], event: Event = Event.EXECUTE
) -> Row:
    """The row of a diagram. ValueError if the diagram has not 32 bits or names a field twice."""
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
    return Row(name, mask, value, fields, build, event)


class Decoder:
    """Decodes words against a set of rows of which no two overlap. Each word is decoded once."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)
        self._decoded: dict[int, Instruction] = {}

    def decode(self, word: int, address: int) -> Instruction:
        """The instruction of a 32-bit word. UndefinedWord, naming `address`, if there is none."""
        instruction = self._decoded.get(word)
        if instruction is None:
            instruction = self._decoded[word] = self._decode(word, address)
        return instruction

    def _decode(self, word: int, address: int) -> Instruction:
        for candidate in self.rows:
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
        return Instruction(candidate.name, word, fields, execute, candidate.event)
