"""Mutants of the step unit: many in one compiled netlist, in lanes as the unit itself.

The tests are the regression's own, with its seed, its lanes and its scoreboard. What drives the
lanes does not depend on what they answer, so it is drawn once for many mutants: in each step
every mutant that is alive is clocked, and is killed by what `tb.testbench.Testbench` would fail by,
`scoreboard.wrong_lane`. Where a mutant's outputs are those of the unit, that is not asked again: it
said that the unit is right. The tests that go cycle by cycle are run as they are, on one mutant
after the other.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from hw.emit import EmitError
from hw.lanes import GATES, lanes_of
from model.planes import WORD
from tb import cases, scoreboard
from tb.harness import STIMULUS, UNIT, row_planes, width
from tb.mutation import bench
from tb.mutation.bench import BrokenDesign
from tb.mutation.mutants import SELECT, UNIT_TARGET, Mutant, mutated
from tb.scoreboard import Move
from tb.sims import SimulatorError, compiled, cxx, run_now
from tb.sims.builds import kept
from tb.sims.compiled import LANES_GLUE, Adapter, Library, matrix, row_of

#: Tests in lanes: those that kill most for their time, and those that take longer.
FIRST = (
    "exhaustive.decision",
    "exhaustive.illegal_state",
    "exhaustive.exception_return",
    "lockstep.events",
    "lockstep.events_and_changes",
)
LATER = ("exhaustive.syndrome", "exhaustive.debug_routing", "exhaustive.return_ss")

_STIMULUS_BYTES = (width(STIMULUS) + 32 + 7) // 8  #: with the reset and a number


def build(mutants: Sequence[Mutant]) -> Path:
    """The directory with the compiled netlist. SimulatorError."""
    text = mutated(UNIT_TARGET, mutants)
    depends = cxx.depends_on(text + GATES + LANES_GLUE)
    return kept("mutants", depends, partial(_build, text))


def _build(text: str, place: Path) -> None:
    try:
        design = lanes_of(text)
    except EmitError as error:
        raise SimulatorError(str(error)) from None
    compiled.build_lanes(design, place)


_library = cache(compiled.library_at)


# In lanes


class _Copies:
    """The unit and some mutants of it, each in as many lanes, which all get the same stimulus."""

    def __init__(self, library: Library, numbers: Sequence[int], lanes: int):
        design, words = library.design, lanes // WORD
        self._library = library
        self._inputs = matrix(len(design.inputs), words)
        self._right, self._found = (matrix(design.driven, words) for _ in range(2))
        self._registers = {n: matrix(design.registers, words) for n in (0, *numbers)}
        place = {pin: at for at, pin in enumerate(design.inputs)}
        self._places = {
            name: [
                (n, place["stimulus", slot.lsb + n])
                for n in range(slot.width)
                if ("stimulus", slot.lsb + n) in place
            ]
            for name, slot in STIMULUS.items()
        }
        self._select = [(n, at) for (port, n), at in place.items() if port == SELECT]
        self._inputs[place["reset", 0]] = ~np.uint64(0)
        for number in self._registers:
            self._edge(number, self._found)
        self._inputs[place["reset", 0]] = 0

    def _edge(self, number: int, outputs: Any) -> None:
        for n, at in self._select:
            self._inputs[at] = ~np.uint64(0) if number >> n & 1 else 0
        self._library.edge(self._inputs, self._registers[number], outputs)()

    def kill(self, move: Move) -> list[int]:
        """Clock a step; the mutants that it kills are gone then. BrokenDesign."""
        for name, planes in move.ports.items():
            for n, at in self._places[name]:
                self._inputs[at] = planes.row(n)
        self._edge(0, self._right)
        if self._wrong(move, self._right):
            raise BrokenDesign("the step unit itself fails its tests: python -m tb.run says where")
        killed = []
        for number in [each for each in self._registers if each]:
            self._edge(number, self._found)
            if not np.array_equal(self._found, self._right) and self._wrong(move, self._found):
                del self._registers[number]
                killed.append(number)
        return killed

    def _wrong(self, move: Move, outputs: Any) -> bool:
        rows = row_planes([row_of(name, self._inputs, outputs) for name in self._library.row])
        return scoreboard.wrong_lane(move, rows) is not None


class _AllKilled(Exception):
    """There is nothing left to run a test for."""


class _LanesBench:
    """What a test in lanes takes (`tb.testbench.Testbench`), for some mutants at once."""

    def __init__(self, library: Library, name: str, numbers: Sequence[int]):
        self.rng = random.Random(f"{name} {bench.SEED}")
        self.simulator = SimpleNamespace(lanes=Adapter.lanes, steps=Adapter.steps)
        self.inputs = 0
        self.alive = list(numbers)
        self._library = library

    async def play(self, moves: Callable[[], Iterator[Move]], cover: bool = True) -> None:
        """Run the steps up to the one that kills the last of the mutants."""
        copies: _Copies | None = None
        for move in moves():
            copies = copies or _Copies(self._library, self.alive, move.lanes)
            for number in copies.kill(move):
                self.alive.remove(number)
            if not self.alive:
                raise _AllKilled


def in_lanes(
    place: Path, mutants: Sequence[Mutant], names: Sequence[str]
) -> dict[Mutant, str | None]:
    """Each mutant with the first of some tests in lanes that kills it. BrokenDesign."""
    cases.load()
    killed: dict[Mutant, str | None] = dict.fromkeys(mutants)
    for name in names:
        numbers = [mutant.number for mutant, by in killed.items() if not by]
        tb = _LanesBench(_library(place), name, numbers)
        with contextlib.suppress(_AllKilled):
            run_now(cases.CASES[name].body(tb))
        killed |= {m: name for m in killed if m.number in numbers and m.number not in tb.alive}
    return killed


# Cycle by cycle


class _OneLane:
    """A mutant as a simulator, driven by whole words (`tb.testbench.Simulator`)."""

    lanes, steps, rows = Adapter.lanes, Adapter.steps, Adapter.rows

    def __init__(self, library: Library, number: int):
        design = library.design
        self._number = number
        counts = (design.driven, len(design.inputs), design.registers)
        everything = np.zeros((sum(counts) + 2, 1), dtype=np.uint32)
        outputs, self._inputs, registers, constants = np.split(everything, np.cumsum(counts))
        constants[1] = 1
        self._everything = everything[:, 0]
        first = {"i": len(outputs), "o": 0}
        self._places = [
            len(everything) - 2 + int(name) if name in "01" else first[name[0]] + int(name[1:])
            for name in library.row
        ]
        starts = {"stimulus": 0, "reset": width(STIMULUS), SELECT: width(STIMULUS) + 1}
        self._pins = [starts[port] + n for port, n in design.inputs]
        self._edge = library.edge(self._inputs, registers, outputs)

    async def reset(self) -> None:
        """Hold the reset for one clock edge."""
        self._cycle(0, reset=True)

    async def cycle(self, stimulus: int) -> int:
        """Drive, settle, sample, pass one clock edge."""
        return self._cycle(stimulus, reset=False)

    def _cycle(self, stimulus: int, reset: bool) -> int:
        word = stimulus | (reset | self._number << 1) << width(STIMULUS)
        packed = np.frombuffer(word.to_bytes(_STIMULUS_BYTES, "little"), dtype=np.uint8)
        self._inputs[:, 0] = np.unpackbits(packed, bitorder="little")[self._pins]
        self._edge()
        bits = np.packbits(self._everything[self._places] & 1, bitorder="little")
        return int.from_bytes(bits.tobytes(), "little")


def alone(place: Path, mutant: Mutant) -> str | None:
    """The first test that goes cycle by cycle and kills a mutant."""
    cases.load()
    simulator = _OneLane(_library(place), mutant.number)
    return bench.first_that_fails(bench.others(UNIT, (*FIRST, *LATER)), simulator)
