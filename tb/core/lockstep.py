"""The core against the reference: the same program, row by row.

The reference gets what the core cannot say differently: the inputs as they were driven, and what a
read of the cycle counter gave. It goes its own way; a batch of rows is then compared as columns.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from model.a64.processor import Processor
from model.a64.trace import Inputs as Given
from model.a64.trace import Row
from model.arch import RAM_BASE, RAM_SIZE
from tb import scoreboard
from tb.core.machine import Image, Memory
from tb.core.rows import HIGH, INPUTS, MASK, WORD, Inputs, Rows, U64s, joined
from tb.scoreboard import Difference
from tb.testbench import Failure

WIDE = "mem_data"  #: the one member with more than 64 bits

_PACK = struct.Struct(f"<{len(Row._fields)}Q").pack

SHOWN = 16  #: bytes of memory in a line about a difference
BEFORE = 8  #: rows kept of those before the last batch


class Mismatch(scoreboard.Mismatch):
    """A row of the core that is not the reference's."""

    def __init__(
        self, rows: Rows, at: int, differences: Sequence[Difference], other: str = "model"
    ):
        super().__init__(int(rows.cycles[at]), differences, other)
        self.rows, self.at = rows, at  #: the row is `rows.row(at)`


class Lockstep:
    """The reference, alongside a core that runs a program from its reset on."""

    def __init__(self, image: Image, inputs: Inputs):
        self.recent: Rows | None = None  #: the last rows, with some from before
        self.processor = Processor()
        for address, content in image:
            self.processor.write_memory(address, content)
        self._inputs, self._given_from = inputs, 0

    def give(self, inputs: Inputs) -> None:
        """The rows from the next one on meet these inputs, as `tb.core.machine.Machine.give`."""
        self._inputs, self._given_from = inputs, self._next_row()

    def write(self, address: int, data: bytes) -> None:
        """The host puts bytes into RAM. ValueError if they do not all fit there."""
        self.processor.write_memory(address, data)

    def check(self, rows: Rows) -> None:
        """Hold the next rows against the reference. Mismatch at the first one that differs."""
        recent = self.pass_over(rows)
        if not len(rows):
            return
        step = self.processor.step
        said = columns([step(given) for given in self._given(rows)])
        at = min(
            (
                int(wrong.argmax())
                for name, values in said.items()
                if (wrong := rows[name] != values).any()
            ),
            default=None,
        )
        if at is not None:
            before = len(recent) - len(rows)
            raise Mismatch(recent, before + at, _differences(rows, said, at))

    def pass_over(self, rows: Rows) -> Rows:
        """Take note of the next rows, no more; returns them, after some that came before."""
        parts = [self.recent.tail(BEFORE), rows] if self.recent else [rows]
        self.recent = joined(parts)
        return self.recent

    def _next_row(self) -> int:
        return self.recent.first + len(self.recent) if self.recent else 0

    def _given(self, rows: Rows) -> Iterator[Given]:
        numbers = np.arange(len(rows)) + (rows.first - self._given_from)
        bits = self._inputs[np.minimum(numbers, len(self._inputs) - 1)]
        by_name = {name: (bits >> at & 1).tolist() for at, name in enumerate(INPUTS)}
        by_name["cycle_count"] = rows["cycle_count"].tolist()
        return map(Given, *(by_name[name] for name in Given._fields))

    def check_memory(self, memory: Memory) -> None:
        """Hold all of RAM against the reference's. Failure with the first bytes that differ."""
        mine = memory.ram
        its = self.processor.read_memory(RAM_BASE, RAM_SIZE)
        if mine == its:
            return
        pair = (np.frombuffer(each, np.uint8) for each in (mine, its))
        at = int(np.not_equal(*pair).argmax()) // SHOWN * SHOWN
        texts = (bytes(each[at : at + SHOWN]).hex(" ") for each in (mine, its))
        raise Failure("memory at {:#x}: hardware {}, model {}".format(RAM_BASE + at, *texts))


def columns(rows: Sequence[Row]) -> dict[str, U64s]:
    """Rows of the reference as `Rows.columns` has them."""
    packed = np.frombuffer(b"".join(map(_packed, rows)), np.uint64)
    by_member = np.ascontiguousarray(packed.reshape(len(rows), len(Row._fields)).T)
    found: dict[str, U64s] = dict(zip(Row._fields, by_member, strict=True))
    found[WIDE + HIGH] = np.array([row.mem_data >> WORD for row in rows], np.uint64)
    return found


def _packed(row: Row) -> bytes:
    """The members in 64 bits each: the low bits of the one that is wider."""
    try:
        return _PACK(*row)
    except struct.error:
        return _PACK(*row._replace(mem_data=row.mem_data & MASK))


def _differences(rows: Rows, said: dict[str, Any], at: int) -> list[Difference]:
    """The members of one row that differ, in the trace's order."""
    row, found = rows.row(at), []
    for name in Row._fields:
        expected = int(said[name][at])
        if name + HIGH in said:
            expected |= int(said[name + HIGH][at]) << WORD
        if getattr(row, name) != expected:
            found.append(Difference(name, getattr(row, name), expected))
    return found
