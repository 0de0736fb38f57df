"""The combinational blocks over their whole input space: every input there is, a lane each.

A lane's number is the input: each block's inputs take its bits, one after the other. The unit is
loaded with the state that they describe, and every output is held against the model. This takes the
compiled simulator: the others would need hours.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from model.arch import (
    HCR_EL2,
    MDCR_EL2,
    MDCR_EL3,
    MDSCR_EL1,
    OSLSR_EL1,
    SCR_EL3,
    SDER32_EL3,
    Event,
    Last,
    SPSR_ELx,
)
from model.machine import PE, Input, after
from model.planes import ONES, WORD, ZEROS, Planes
from tb import stimulus
from tb.cases import case
from tb.scoreboard import Move
from tb.testbench import Testbench

Bits = Any  #: a `Planes`, where the rules' types speak of arrays

LANES = 1 << 18  #: at a time

#: The inputs of ControlDecoder, which all blocks are behind: name to (register, field), or a flag.
#: All other bits of the registers go nowhere: the netlist has no pin for them.
CONTROLS: dict[str, tuple[str, Any] | None] = {
    "have_el2": None,
    "have_el3": None,
    "have_sel2": None,
    "el1_aarch32": None,
    "el2_aarch32": None,
    "TDE": ("mdcr_el2", MDCR_EL2.TDE),
    "TGE": ("hcr_el2", HCR_EL2.TGE),
    "NS": ("scr_el3", SCR_EL3.NS),
    "EEL2": ("scr_el3", SCR_EL3.EEL2),
    "SDD": ("mdcr_el3", MDCR_EL3.SDD),
    "SUIDEN": ("sder32_el3", SDER32_EL3.SUIDEN),
    "OSLK": ("oslsr_el1", OSLSR_EL1.OSLK),
    "double_lock": None,
    "SS": ("mdscr_el1", MDSCR_EL1.SS),
    "KDE": ("mdscr_el1", MDSCR_EL1.KDE),
}
#: The inputs of IllegalStateTarget and ExceptionReturn but for the EL and the SPSR.
LEVELS = (
    "have_el2",
    "have_el3",
    "have_sel2",
    "el1_aarch32",
    "el2_aarch32",
    "NS",
    "EEL2",
    "TGE",
)
#: A PE in which nothing stands in the way: EL1 in AArch64, that a Non-secure EL2 steps.
_PLAIN = {
    "have_el2": 1,
    "have_el3": 1,
    "have_sel2": 1,
    "TDE": 1,
    "NS": 1,
    "SS": 1,
    "KDE": 1,
    "el": 1,
}


@dataclass(frozen=True, slots=True)
class Space:
    """All inputs of a block: name to how many values it has, from 0 on.

    What is not named is as in `_PLAIN`, or 0.
    """

    sizes: Mapping[str, int]

    @property
    def count(self) -> int:
        """How many inputs there are."""
        return math.prod(self.sizes.values())

    @property
    def bits(self) -> int:
        """Of an input's number. Where a part of it is no value, the value is 0 again."""
        return sum((size - 1).bit_length() for size in self.sizes.values())

    @property
    def lanes(self) -> int:
        """How many inputs are looked at together."""
        return max(WORD, min(LANES, 1 << self.bits))

    def inputs(self, first: int) -> dict[str, Bits]:
        """Those from number `first` on, one a lane."""
        number = _numbers(first, self.lanes, self.bits)
        values: dict[str, Bits] = {name: Planes.constant(one) for name, one in _PLAIN.items()}
        for name, size in self.sizes.items():
            width = (size - 1).bit_length()
            value = Planes(number[:width])
            values[name] = value * (value < size)
            number = number[width:]
        return values


def _numbers(first: int, lanes: int, bits: int) -> list[Any]:
    """The rows of the numbers from `first` on, which is a multiple of `lanes`."""
    word = np.arange(lanes // WORD, dtype=np.uint64)
    rows: list[Any] = [
        np.uint64(sum(1 << lane for lane in range(WORD) if lane >> n & 1)) for n in range(6)
    ]
    rows += [
        ONES * ((word >> np.uint64(n)) & np.uint64(1))
        for n in range((lanes // WORD).bit_length() - 1)
    ]
    return (rows + [ONES if first >> n & 1 else ZEROS for n in range(len(rows), bits)])[:bits]


def _pe(values: Mapping[str, Bits]) -> PE:
    """The PE that the inputs describe."""
    zero: Bits = Planes.constant(0)
    columns: dict[str, Bits] = {field.name: values.get(field.name, zero) for field in fields(PE)}
    for name, place in CONTROLS.items():
        if place and name in values:
            register, field = place
            columns[register] = columns[register] | (values[name] << field.lsb)
    return stimulus.in_its_width(PE(**{**columns, "mdscr_el1_written": columns["mdscr_el1"]}))


def _given(values: Mapping[str, Bits]) -> Input:
    """The event that the inputs describe."""
    zero: Bits = Planes.constant(0)
    columns: dict[str, Bits] = {field.name: values.get(field.name, zero) for field in fields(Input)}
    parts = {"M": SPSR_ELx.M, "D": SPSR_ELx.D, "SPSR_SS": SPSR_ELx.SS, "IL": SPSR_ELx.IL}
    for name, field in parts.items():
        columns["spsr"] = columns["spsr"] | (values.get(name, zero) << field.lsb)
    return Input(**columns)


def _moves(space: Space, complete: Callable[[dict[str, Bits]], None]) -> Iterator[Move]:
    """Every input: the state is loaded, the event happens, and what came of it is looked at."""
    lanes, pc = space.lanes, Planes.constant(0)
    for first in range(0, 1 << space.bits, lanes):
        values = space.inputs(first)
        complete(values)
        pe, given = _pe(values), _given(values)
        yield stimulus.first_move(lanes, pe)
        made = stimulus.move(lanes, pe, given, pc, happens=True, load=None)
        yield made
        assert made.effect
        yield stimulus.move(lanes, after(pe, made.effect), given, pc, happens=False, load=None)


async def _every(
    tb: Testbench,
    sizes: Mapping[str, int],
    complete: Callable[[dict[str, Bits]], None] = lambda values: None,
) -> None:
    space = Space(sizes)
    await tb.play(lambda: _moves(space, complete), cover=False)
    tb.inputs += space.count


@case("D2.4, D2.5, D2.12.3", bulk=True)
async def debug_routing(tb: Testbench) -> None:
    """DebugRouting and StepStateMachine: ELd, the enables, the state."""
    sizes = dict.fromkeys(CONTROLS, 2) | {"halted": 2, "el": 4, "d": 2, "ss": 2}
    await _every(tb, sizes)


@case("D2.12.6", bulk=True)
async def syndrome(tb: Testbench) -> None:
    """SoftwareStepSyndrome, from every EL to every ELd."""
    sizes = {"last": len(Last), "isv_choice": 2, "el": 4, "TDE": 2, "TGE": 2}
    await _every(tb, sizes)


@case("D1.11", bulk=True)
async def exception_return(tb: Testbench) -> None:
    """ExceptionReturn: which returns are legal, and where they go."""

    def of_eret_or_exit(values: dict[str, Bits]) -> None:
        values["event"] = Planes.constant(Event.ERET) ^ values["halted"]

    sizes = dict.fromkeys(LEVELS, 2) | {"halted": 2, "el": 4, "M": 32, "IL": 2}
    await _every(tb, sizes, of_eret_or_exit)


@case("D2.12.4", bulk=True)
async def return_ss(tb: Testbench) -> None:
    """What an exception return writes to PSTATE.SS. The OS Lock stands for both locks."""

    def of_eret(values: dict[str, Bits]) -> None:
        values["event"] = Planes.constant(Event.ERET)

    sizes = {name: 2 for name in CONTROLS if name != "double_lock"}
    sizes |= {"d": 2, "el": 4, "M": 32, "D": 2, "SPSR_SS": 2}
    await _every(tb, sizes, of_eret)


@case("D1.10", bulk=True)
async def illegal_state(tb: Testbench) -> None:
    """IllegalStateTarget, and exception entry at each target."""
    sizes = dict.fromkeys(LEVELS, 2) | {"il": 2, "el": 4, "event": len(Event), "target_el": 4}
    await _every(tb, sizes)


@case("D2.12.5, D2.12.6", bulk=True)
async def decision(tb: Testbench) -> None:
    """Decision and WhatWasStepped: what comes first, and what is known of it afterwards."""
    sizes = {
        "SS": 2,
        "ss": 2,
        "il": 2,
        "event": len(Event),
        "async_first": 2,
        "isv_choice": 2,
        "last": len(Last),
    }
    await _every(tb, sizes | {"el": 4, "target_el": 4})
