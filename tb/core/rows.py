"""Rows of the core's retire trace, many at a time, and the inputs that a run has row by row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from tb.harness import CORE, Packing, Slot, width

U64s = npt.NDArray[np.uint64]

WORD = 64  #: bits of a chunk of a row word
MASK = (1 << WORD) - 1
HIGH = "_high"  #: ends the name of the column with bits 127:64 of a member

#: The trace: no other outputs.
TRACE: Packing = {name: slot for name, slot in CORE.row.items() if not name.startswith("out_")}


def chunks(packing: Packing) -> int:
    """Chunks of a word."""
    return -(-width(packing) // WORD)


@dataclass(frozen=True)
class Rows:
    """Rows as the hardware has them.

    A member of the trace is a column of 64 bits; one of 128 bits is two, `<name>` and
    `<name>_high`.
    """

    raw: U64s  #: shape (rows, chunks): each row word, the lowest chunk first
    cycles: U64s  #: shape (rows,): the clock cycle of each, 0 the first after the reset
    first: int = 0  #: how many rows came before these

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, name: str) -> U64s:
        """A column."""
        return self.columns[name]

    @cached_property
    def columns(self) -> dict[str, U64s]:
        """Name to column, of all members of the trace."""
        found: dict[str, U64s] = {}
        for name, slot in TRACE.items():
            found[name] = self._bits(slot.lsb, min(slot.width, WORD))
            if slot.width > WORD:
                found[name + HIGH] = self._bits(slot.lsb + WORD, slot.width - WORD)
        return found

    def _bits(self, lsb: int, width: int) -> U64s:
        at, shift = divmod(lsb, WORD)
        values = self.raw[:, at] >> np.uint64(shift)
        if shift + width > WORD:
            values = values | self.raw[:, at + 1] << np.uint64(WORD - shift)
        return values & np.uint64((1 << width) - 1)

    def row(self, at: int) -> SimpleNamespace:
        """One row: its members as numbers, with `number` and `cycle`, and `rows` and `at`, where it
        comes from. A negative index counts from the end.
        """
        at = range(len(self))[at]
        word = int.from_bytes(self.raw[at].tobytes(), "little")
        where = {"number": self.first + at, "cycle": int(self.cycles[at]), "rows": self, "at": at}
        return SimpleNamespace(
            **{name: member(word, slot) for name, slot in TRACE.items()}, **where
        )

    def __iter__(self) -> Iterator[SimpleNamespace]:
        """Every row, as `row` has it."""
        return map(self.row, range(len(self)))

    def tail(self, count: int) -> "Rows":
        """The last rows, or all if there are not so many."""
        first = max(0, len(self) - count)
        return Rows(self.raw[first:], self.cycles[first:], self.first + first)


def member(word: int, slot: Slot) -> int:
    """A member's value in a row word."""
    return (word >> slot.lsb) & ((1 << slot.width) - 1)


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows that follow one another."""
    raw = np.concatenate([part.raw for part in parts])
    return Rows(raw, np.concatenate([part.cycles for part in parts]), parts[0].first)


# Inputs

#: Members of the trace that show the inputs, to their ports; a bit each, in this order.
INPUTS: Mapping[str, str] = {
    **{name: f"pins__{name}" for name in ("irq", "fiq", "serror")},
    **{name: f"choice__{name}" for name in ("async_first", "isv_choice", "write_seen", "wfx_ends")},
}

#: Where nothing else is said: no interrupt, writes are seen at once, and nothing waits.
QUIET = {"isv_choice": 1, "write_seen": 1, "wfx_ends": 1}

Inputs = npt.NDArray[np.uint8]  #: shape (n,): the bits of row n; the last also of all later rows


def inputs(**columns: Any) -> Inputs:
    """Inputs from columns of values, each a number for all rows or one for each row.

    What is not named is as in QUIET, else 0. TypeError for a name that is no input.
    """
    if unknown := columns.keys() - INPUTS.keys():
        raise TypeError(f"no such input: {', '.join(sorted(unknown))}")
    values = [np.atleast_1d({**QUIET, **columns}.get(name, 0)) for name in INPUTS]
    bits = [value.astype(np.uint8) << at for at, value in enumerate(values)]
    return np.bitwise_or.reduce(np.broadcast_arrays(*bits))


def packed(given: Iterable[Any]) -> Inputs:
    """Inputs from those of the reference, a row each: what a read of the cycle counter gives, is
    not among them. ValueError if there are none.
    """
    columns = zip(*(tuple(getattr(each, name) for name in INPUTS) for each in given), strict=True)
    return inputs(**dict(zip(INPUTS, columns, strict=True)))


def input_values(bits: int) -> dict[str, int]:
    """The inputs of one row by their names."""
    return {name: bits >> at & 1 for at, name in enumerate(INPUTS)}
