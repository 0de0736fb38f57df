"""The step unit with its inputs as one word and its outputs as another.

A simulator's adapter so moves two values a cycle, whatever the number of ports; `STIMULUS` and
`ROW` say where each port is in its word.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from amaranth.hdl import Cat, Module, ResetInserter, Shape, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.step import StepUnit
from model.planes import ZEROS, Planes, Row


@dataclass(frozen=True, slots=True)
class Slot:
    """A port's place in a word, and what it holds."""

    lsb: int
    width: int
    shape: Any  #: the port's Amaranth shape: an enumeration where it is one


Packing = Mapping[str, Slot]


def pack(packing: Packing, values: Mapping[str, int]) -> int:
    """The word with `values` in place; the other ports are 0."""
    word = 0
    for name, value in values.items():
        word |= value << packing[name].lsb
    return word


def unpack(packing: Packing, word: int) -> dict[str, int]:
    """Port name to value."""
    return {name: (word >> s.lsb) & ((1 << s.width) - 1) for name, s in packing.items()}


def _leaves(name: str, shape: Any) -> Iterator[tuple[str, Any]]:
    """(name, shape) of a port, or of the fields of one that is a struct."""
    if isinstance(shape, type) and issubclass(shape, data.Struct):
        for field, inside in data.Layout.cast(shape):
            yield f"{name}__{field}", inside.shape
    else:
        yield name, shape


def _row_name(port: str) -> str:
    """A member of the trace by its own name, any other output as `out_...`."""
    return port.removeprefix("trace__") if port.startswith("trace__") else f"out_{port}"


#: Without writes that are seen late, the control registers are after an event as they were before.
TIED = "controls_after"


def _slots(flow: wiring.Flow) -> Packing:
    """The unit's ports of one direction, one after the other."""
    slots, lsb = {}, 0
    for path, member in wiring.Signature(StepUnit.__annotations__).members.flatten():
        if not member.is_port or member.flow != flow or path[0] == TIED:
            continue
        for name, shape in _leaves("__".join(path), member.shape):
            width = Shape.cast(shape).width
            slots[_row_name(name) if flow == Out else name] = Slot(lsb, width, shape)
            lsb += width
    return slots


STIMULUS: Packing = _slots(In)
ROW: Packing = _slots(Out)


def _word(unit: StepUnit, flow: wiring.Flow) -> Value:
    """The same ports of a unit, as one word."""
    ports = [
        Value.cast(port)
        for path, member, port in unit.signature.flatten(unit)
        if member.flow == flow and path[0] != TIED
    ]
    return Cat(*ports)


def width(packing: Packing) -> int:
    """Bits of the word."""
    return max(slot.lsb + slot.width for slot in packing.values())


class Harness(wiring.Component):
    """The step unit behind two words."""

    reset: In(1)
    stimulus: In(width(STIMULUS))
    row: Out(width(ROW))

    def elaborate(self, platform):
        m = Module()
        unit = StepUnit()
        m.submodules.unit = ResetInserter(self.reset)(unit)
        m.d.comb += [_word(unit, In).eq(self.stimulus), self.row.eq(_word(unit, Out))]
        wiring.connect(m, wiring.flipped(unit.controls), unit.controls_after)
        return m


# Many lanes

Rows = Mapping[str, Planes]  #: what a cycle shows in all lanes: names of `ROW` to values


class Step(Protocol):
    """One clock cycle of many lanes."""

    @property
    def lanes(self) -> int:
        """A multiple of 64."""

    @property
    def ports(self) -> Mapping[str, Planes]:
        """Names of `STIMULUS` to values. What is not named holds its value, at first 0."""


def words_of(ports: Mapping[str, Planes], lanes: int) -> list[int]:
    """The stimulus word of each lane."""
    rows: list[Row] = [ZEROS] * width(STIMULUS)
    for name, planes in ports.items():
        slot = STIMULUS[name]
        rows[slot.lsb : slot.lsb + slot.width] = [planes.row(n) for n in range(slot.width)]
    whole = np.stack([np.broadcast_to(row, (lanes // 64,)) for row in rows])
    bits = np.unpackbits(whole.view(np.uint8), axis=1, bitorder="little")
    packed = np.packbits(bits, axis=0, bitorder="little").T
    return [int.from_bytes(word.tobytes(), "little") for word in packed]


def rows_of(words: Sequence[int]) -> Rows:
    """The rows of a step from the row word of each lane."""
    size = -(-width(ROW) // 8)
    packed = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8)
    bits = np.unpackbits(packed.reshape(len(words), size), axis=1, bitorder="little")
    rows = np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little").view(np.uint64)
    return row_planes(list(rows))


def row_planes(rows: Sequence[Row]) -> Rows:
    """The outputs of a step from the rows of the row word's bits."""
    return {name: Planes(rows[slot.lsb : slot.lsb + slot.width]) for name, slot in ROW.items()}
