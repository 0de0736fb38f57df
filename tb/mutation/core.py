"""Mutants of the core's exceptions and system registers: many in one compiled netlist.

The first tests are the ones that most faults are found by. Their programs are run once on the core
itself, held against the reference as always, and what it does is kept. A mutant then runs the same
programs, and its rows are held against the core's: where they are the same, the reference said that
they are right; a member that lockstep compares and that differs is what it would stop at. That is
so as long as both have read the same from the cycle counter, which the reference is told. Where
they have not, and where memory differs in the end, the program is run with the reference itself.

A mutant that makes no row for as long as HANG is killed: between two rows nothing changes what a
core is given, and no row takes nearly as long.

Of the other tests what they do to the core is kept: a mutant that gets it and makes the same rows
passes. On one that does not, the test is run as it is.
"""

import ctypes
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from model.a64.trace import Row
from tb import cases
from tb.core.engine import MAX_CYCLES
from tb.core.machine import Image, Limits, Memory
from tb.core.rows import TRACE, Inputs, Rows, chunks, joined
from tb.core.rows import inputs as quiet
from tb.core.testbench import CoreTestbench
from tb.harness import CORE, Design
from tb.mutation import bench
from tb.mutation.bench import BrokenDesign
from tb.mutation.mutants import CORE_TARGET, SELECT, Mutant, mutated
from tb.scoreboard import Mismatch
from tb.sims import cxx, run_now, words
from tb.sims.builds import kept
from tb.sims.compiled import Adapter
from tb.testbench import Failure, Simulator

FIRST = (
    "core.random_programs",
    "core.every_legal_bin",
    "core.every_bit_is_kept",
    "core.every_bit_of_an_address",
    "core.every_bit_of_the_controls",
)

BATCH = 256  #: rows that are compared at once
HANG = 100_000  #: clock cycles
COUNTER = "cycle_count"

_RESET = "top = {};"
_RESET_MUTANT = f"{_RESET}\n    top.p_{SELECT}.set(selected);"
_SELECTED = """
static uint32_t selected = 0;
extern "C" void select_mutant(uint32_t number) { selected = number; }
"""


def build(mutants: Sequence[Mutant]) -> Path:
    """The directory with the compiled netlist. SimulatorError."""
    text, glue = mutated(CORE_TARGET, mutants), words._glue(CORE)
    assert glue.count(_RESET) == 1
    glue = _SELECTED + glue.replace(_RESET, _RESET_MUTANT)
    return kept("mutants", cxx.depends_on(text + words.SCRIPT + glue), partial(_build, text, glue))


def _build(text: str, glue: str, place: Path) -> None:
    words._build(text, glue, place)


class _Core:
    """The compiled core as a simulator (`tb.testbench.Simulator`), with one of its mutants."""

    lanes, steps, rows = Adapter.lanes, Adapter.steps, Adapter.rows

    def __init__(self, place: Path):
        self._library = words.loaded(place, CORE)
        self.log: list[_Op] | None = None  #: if it is a list, what is done goes there

    def select(self, number: int) -> None:
        """Which mutant is meant from the next reset on; 0: none."""
        self._library.select_mutant(ctypes.c_uint32(number))

    async def reset(self) -> None:
        """Each program begins with a reset of its own."""

    def machine(self, design: Design = CORE) -> words.CompiledMachine:
        """The core with memory around it."""
        if self.log is not None:
            return _LoggedMachine(design, self._library, self.log)
        return words.CompiledMachine(design, self._library)


# What the core itself does


@dataclass(frozen=True)
class _Run:
    """A program, and what the core does with it."""

    image: Image
    inputs: Inputs
    limits: Limits
    rows: Rows
    cycles: int
    memory: int  #: its checksum in the end


class _Recorder(CoreTestbench):
    """Keeps the programs that a test runs."""

    def __init__(self, simulator: Any, name: str, seed: int):
        super().__init__(simulator, name, seed)
        self.runs: list[_Run] = []

    async def batches(
        self,
        image: Image,
        inputs: Inputs | None = None,
        max_rows: int | None = None,
        max_cycles: int = MAX_CYCLES,
        at_self_branch: bool = True,
        lockstep: bool = True,
    ) -> AsyncIterator[Rows]:
        """See `CoreTestbench`."""
        image, parts = list(image), []
        inputs = quiet() if inputs is None else inputs
        most = max_cycles if max_rows is None else max_rows
        run = super().batches(image, inputs, max_rows, max_cycles, at_self_branch, lockstep)
        async for rows in run:
            parts.append(rows)
            yield rows
        limits, machine = Limits(most, max_cycles, at_self_branch), self.machine
        memory = zlib.crc32(machine.memory.ram)
        self.runs.append(_Run(image, inputs, limits, joined(parts), machine.cycles, memory))


@cache
def _recorded(place: Path, name: str) -> list[_Run]:
    """The programs of a test. Raises what the test raises."""
    core = _Core(place)
    core.select(0)
    tb = _Recorder(core, name, bench.SEED)
    run_now(cases.CASES[name].body(tb))
    return tb.runs


# What a mutant does


def _mask(names: Sequence[str]) -> Any:
    """The bits of some members in a row."""
    word = 0
    for name in names:
        slot = TRACE[name]
        word |= ((1 << slot.width) - 1) << slot.lsb
    return np.frombuffer(word.to_bytes(8 * chunks(CORE.row), "little"), np.uint64)


#: What lockstep compares but for the counter.
_COMPARED = _mask([name for name in Row._fields if name != COUNTER])
_COUNTER = _mask([COUNTER])


def _killed(core: _Core, run: _Run) -> bool:
    """Whether a program shows that the selected mutant is not the core."""
    same = _same_rows(core, run)
    return not _passes(core, run) if same is None else not same


def _same_rows(core: _Core, run: _Run) -> bool | None:
    """Whether the mutant does what the core did. None: the reference has to say."""
    machine = core.machine()
    run_now(machine.start(run.image, run.inputs))
    at = 0
    while at < len(run.rows):
        limits = Limits(
            min(at + BATCH, len(run.rows)), run.cycles + HANG, run.limits.at_self_branch
        )
        raw = run_now(machine.run(limits)).raw
        right = run.rows.raw[at : at + len(raw)]
        differs = raw ^ right
        if (differs & _COUNTER).any():
            return None
        if (differs & _COMPARED).any() or not len(raw):
            return False
        at += len(raw)
    return True if zlib.crc32(machine.memory.ram) == run.memory else None


def _passes(core: _Core, run: _Run) -> bool:
    """Whether a program is as the reference says."""
    tb = CoreTestbench(cast(Simulator, core), "", bench.SEED)

    async def play() -> None:
        limits = run.limits
        most = (run.inputs, limits.rows, limits.cycles, limits.at_self_branch)
        async for _ in tb.batches(run.image, *most):
            pass

    try:
        run_now(play())
    except (Mismatch, Failure):
        return False
    return True


def first(place: Path, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str | None]]:
    """Each mutant with the first of the FIRST tests that kills it."""
    cases.load()
    core = _Core(place)
    for name in FIRST:
        _recorded(place, name)
    for mutant in mutants:
        core.select(mutant.number)
        yield mutant, next((name for name in FIRST if _any(core, _recorded(place, name))), None)


def _any(core: _Core, runs: Sequence[_Run]) -> bool:
    return any(_killed(core, run) for run in runs)


# The other tests


def others() -> list[str]:
    """The names of the other tests of the core."""
    cases.load()
    return [case.name for case in bench.others(CORE, FIRST)]


def later(place: Path, mutants: Sequence[Mutant], name: str) -> dict[Mutant, str | None]:
    """Each mutant with the name of the test if that kills it.

    A test that does to a mutant what it does to the core, and gets the same rows, passes. Where it
    does not, it is run on the mutant as it is.
    """
    cases.load()
    core = _Core(place)
    core.select(0)
    core.log = []
    if bench.fails(cases.CASES[name], core):
        raise BrokenDesign(f"the core itself fails {name}: python -m tb.run {name} says where")
    log, core.log = core.log, None
    killed: dict[Mutant, str | None] = {}
    for mutant in mutants:
        core.select(mutant.number)
        same = _replayed(core, log)
        killed[mutant] = name if not same and bench.fails(cases.CASES[name], core) else None
    return killed


def _replayed(core: _Core, log: Sequence["_Op"]) -> bool:
    """Whether a mutant does the same as the core did."""
    machine = core.machine()
    return all(op.replay(machine) for op in log)


class _Op(Protocol):
    """Something that a test did to a machine."""

    def replay(self, machine: words.CompiledMachine) -> bool:
        """Do it; whether the same came of it."""


@dataclass(frozen=True)
class _Start:
    image: Image
    inputs: Inputs

    def replay(self, machine: words.CompiledMachine) -> bool:
        run_now(machine.start(self.image, self.inputs))
        return True


@dataclass(frozen=True)
class _Give:
    inputs: Inputs

    def replay(self, machine: words.CompiledMachine) -> bool:
        machine.give(self.inputs)
        return True


@dataclass(frozen=True)
class _Store:
    address: int
    data: bytes

    def replay(self, machine: words.CompiledMachine) -> bool:
        machine.memory.store(self.address, self.data)
        return True


@dataclass(frozen=True)
class _Ran:
    limits: Limits
    cycles: int  #: so far, when it ended
    rows: int  #: checksum of what is compared

    def replay(self, machine: words.CompiledMachine) -> bool:
        last = min(self.limits.cycles, self.cycles + HANG)
        rows = run_now(machine.run(replace(self.limits, cycles=last)))
        return _checksum(rows) == self.rows


def _checksum(rows: Rows) -> int:
    return zlib.crc32((rows.raw & (_COMPARED | _COUNTER)).tobytes())


class _LoggedMemory(Memory):
    """Memory that keeps what the host puts into it."""

    def __init__(self, memory: Memory, log: list[_Op]):
        self.ram, self._log = memory.ram, log  # the core has this very array

    def store(self, address: int, data: bytes) -> None:
        """See `Memory`."""
        super().store(address, data)
        self._log.append(_Store(address, bytes(data)))


class _LoggedMachine(words.CompiledMachine):
    """The core with memory around it, that keeps what is done to it."""

    def __init__(self, design: Design, made: Any, log: list[_Op]):
        super().__init__(design, made)
        self._log = log

    async def start(self, image: Image, inputs: Inputs) -> None:
        """See `tb.core.machine.Machine`."""
        image = list(image)
        self._log.append(_Start(image, inputs))
        await super().start(image, inputs)
        self.memory = _LoggedMemory(self.memory, self._log)

    def give(self, inputs: Inputs) -> None:
        """See `tb.core.machine.Machine`."""
        super().give(inputs)
        self._log.append(_Give(np.array(inputs)))

    async def run(self, limits: Limits) -> Rows:
        """See `tb.core.machine.Machine`."""
        rows = await super().run(limits)
        self._log.append(_Ran(limits, self.cycles, _checksum(rows)))
        return rows
