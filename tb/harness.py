"""A design with its inputs as one word and its outputs as another.

A simulator's adapter so moves two values a cycle, whatever the number of ports; a `Design` says
where each port is in its word. `UNIT` is the step unit, with `STIMULUS` and `ROW`; `CORE` is the
core.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from amaranth.hdl import Cat, Module, ResetInserter, Shape, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.core.core import Core
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


def width(packing: Packing) -> int:
    """Bits of the word."""
    return max(slot.lsb + slot.width for slot in packing.values())


@dataclass(frozen=True, eq=False)
class Design:
    """A component that the bench can drive. Processes know it by its name (`DESIGNS`)."""

    name: str
    component: type[wiring.Component]
    trace: str  #: its retire trace, whose members go by their own names; other outputs: `out_...`
    #: inputs that are no part of the stimulus, and what drives them: groups of ports
    tied: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def stimulus(self) -> Packing:
        """Where the inputs are in the stimulus word."""
        return self._slots(In)

    @cached_property
    def row(self) -> Packing:
        """Where the outputs are in the row word."""
        return self._slots(Out)

    def ports(self, flow: wiring.Flow) -> Packing:
        """Where the component's own ports of one direction are in their word: structs whole."""
        slots, lsb = {}, 0
        for path, member in wiring.Signature(self.component.__annotations__).members.flatten():
            if not member.is_port or member.flow != flow or path[0] in self.tied:
                continue
            width = Shape.cast(member.shape).width
            slots["__".join(path)] = Slot(lsb, width, member.shape)
            lsb += width
        return slots

    def _slots(self, flow: wiring.Flow) -> Packing:
        """The same, with each field of a struct on its own, and outputs by their names in a row."""
        slots = {}
        for port, whole in self.ports(flow).items():
            lsb = whole.lsb
            for name, shape in _leaves(port, whole.shape):
                width = Shape.cast(shape).width
                slots[self._row_name(name) if flow == Out else name] = Slot(lsb, width, shape)
                lsb += width
        return slots

    def _row_name(self, port: str) -> str:
        prefix = f"{self.trace}__"
        return port.removeprefix(prefix) if port.startswith(prefix) else f"out_{port}"

    def word(self, inside: wiring.Component, flow: wiring.Flow) -> Value:
        """The ports of `_slots`, of an instance of the component, as one word."""
        ports = [
            Value.cast(port)
            for path, member, port in inside.signature.flatten(inside)
            if member.flow == flow and path[0] not in self.tied
        ]
        return Cat(*ports)


class Harness(wiring.Component):
    """A design behind two words: ports `reset`, `stimulus` and `row`."""

    def __init__(self, design: Design):
        super().__init__(
            {
                "reset": In(1),
                "stimulus": In(width(design.stimulus)),
                "row": Out(width(design.row)),
            }
        )
        self._design = design

    def elaborate(self, platform):
        m = Module()
        design = self._design
        inside = design.component()
        m.submodules[design.name] = ResetInserter(self.reset)(inside)
        m.d.comb += design.word(inside, In).eq(self.stimulus)
        m.d.comb += self.row.eq(design.word(inside, Out))
        for port, driver in design.tied.items():
            wiring.connect(m, wiring.flipped(getattr(inside, driver)), getattr(inside, port))
        return m


UNIT = Design(
    "unit",
    StepUnit,
    trace="trace",
    # Without writes that are seen late, the controls are after an event as they were before.
    tied={"controls_after": "controls"},
)
STIMULUS, ROW = UNIT.stimulus, UNIT.row

CORE = Design("core", Core, trace="retire")

DESIGNS = {design.name: design for design in (UNIT, CORE)}


# Many lanes, of the step unit

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
