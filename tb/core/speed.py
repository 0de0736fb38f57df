"""How fast one guest runs, alone and stepped by the loop at EL2: what `tb.bench` measures of it.

On the core, on its reference, on both in lockstep, and on QEMU. The guest is the one that QEMU runs
(`tb.qemu`), elsewhere of so large a number that it does not come to its end: what is timed is a
part of it.
"""

import contextlib
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NamedTuple

from model.a64 import interpreter
from model.a64.processor import Processor
from model.a64.state import State
from model.a64.trace import Row
from model.arch import EL, RAM_BASE, ExceptionClass, Retire
from model.programs.image import Image
from model.programs.layout import GUEST_BASE
from model.programs.load import guest, hosted
from tb import qemu, scoreboard, work
from tb.core.machine import Memory
from tb.core.testbench import CoreTestbench
from tb.core.timed import Timed, Timing, reference
from tb.harness import CORE
from tb.sims import SimulatorError
from tb.testbench import Failure, Simulator

SEQUENCE = "v1"
NUMBER = 40  #: to compute that Fibonacci number takes more than 10^9 instructions

INSTRUCTIONS, STEPS, ROWS = "instructions/s", "single steps/s", "rows/s"

Measure = Callable[[], float]  #: measures once, in units a second


class Size(NamedTuple):
    """How much a simulator runs in one round."""

    instructions: int
    steps: int


SIZES = {
    work.COMPILED: Size(100_000, 500),
    "pysim": Size(60, 1),
    "verilator": Size(1000, 10),
    "icarus": Size(200, 2),
}

#: Lines that are not measured in every round: to come to the first step takes such a simulator
#: seconds, and to start it some more.
FIRST_ROUND = {
    f"{unit}, {name}" for unit in (INSTRUCTIONS, STEPS) for name in SIZES if name != work.COMPILED
}

INTERPRETED = 200_000  #: instructions in one round
REFERENCE = 16_000  #: rows of the reference in one round, alone and in lockstep

_OTHERS = {
    "icarus": ["pysim"],
    "verilator": ["pysim", "icarus"],
    work.COMPILED: ["pysim", "icarus"],
    "interpreter": [work.COMPILED],
    "reference": [work.COMPILED],
    "lockstep": ["reference"],
    "qemu": [work.COMPILED, "interpreter", "reference"],
}

#: What each line is compared with, where both are measured.
REFERENCES = {
    f"{unit}, {name}": [f"{unit}, {other}" for other in others]
    for unit in (INSTRUCTIONS, STEPS, ROWS)
    for name, others in _OTHERS.items()
}

_PAGE = 0x1000


def measures() -> dict[str, Measure]:
    """Line to what measures it, of what is installed. They raise SimulatorError."""
    names = [name for name in work.SIMULATORS if not work.adapter(name).missing()]
    instructions = {name: partial(_instructions, name) for name in names}
    steps = {name: partial(_steps, name) for name in names}
    rows: dict[str, Measure] = {"reference": lambda: _rows_of(_on_reference())}
    if work.COMPILED in names:
        rows["lockstep"] = partial(_in_lockstep, work.COMPILED)
    by_unit: dict[str, dict[str, Measure]] = {
        INSTRUCTIONS: {**instructions, "interpreter": _on_interpreter},
        STEPS: {**steps, "reference": lambda: _steps_of(_on_reference())},
        ROWS: rows,
    }
    if not qemu.missing():
        by_unit[INSTRUCTIONS]["qemu"] = partial(qemu.instructions_per_second, SEQUENCE)
        by_unit[STEPS]["qemu"] = partial(qemu.single_steps_per_second, SEQUENCE)
    return {f"{unit}, {name}": do for unit, found in by_unit.items() for name, do in found.items()}


def _rows_of(timing: Timing) -> float:
    return timing.rows / timing.seconds


def _steps_of(timing: Timing) -> float:
    return timing.steps / timing.seconds


# The guest


def alone() -> Image:
    """The guest without a hypervisor, from the reset on."""
    return _long(guest(qemu.GUEST))


def stepped() -> Image:
    """The guest under the loop at EL2."""
    return _long(hosted(qemu.GUEST, SEQUENCE))


def _long(image: Image) -> Image:
    number = image.symbols["number"], struct.pack("<I", NUMBER)
    return replace(image, segments=(*image.segments, number))


def _loaded(image: Image) -> Processor:
    """The reference after reset, with an image in its memory."""
    processor = Processor()
    for address, content in image.segments:
        processor.write_memory(address, content)
    return processor


class _Begins(NamedTuple):
    """Rows from the reset on before something begins."""

    guest: int  #: the guest alone: its first instruction
    after_step: int  #: the guest stepped: what comes after the first step
    after_next: int  #: and after the second


def _is_step(row: Row) -> bool:
    syndrome = row.esr >> 26
    return row.kind == Retire.SYNCHRONOUS and syndrome == ExceptionClass.SOFTSTEP_LOWER


@cache
def _begins() -> _Begins:
    free, stepping = _loaded(alone()), _loaded(stepped())
    before = len(free.run(stop=lambda row: row.el_after == EL.EL1))
    first, second = (len(stepping.run(stop=_is_step)) for _ in range(2))
    return _Begins(before, first, first + second)


# On a simulator


def _instructions(name: str) -> float:
    """Of the guest alone: each of its rows is one."""
    count = SIZES[name].instructions
    task = Timed(alone().segments, count, before=_begins().guest)
    return _rows_of(_timed(name, task, steps=0))


def _steps(name: str) -> float:
    """Whole steps: each takes as many rows as any other."""
    steps, begins = SIZES[name].steps, _begins()
    rows = steps * (begins.after_next - begins.after_step)
    task = Timed(stepped().segments, rows, before=begins.after_step)
    return _steps_of(_timed(name, task, steps))


def _timed(name: str, task: Timed, steps: int) -> Timing:
    timing: Timing = work.adapter(name).run(task, None, CORE)
    if (timing.rows, timing.steps) != (task.rows, steps):
        raise _parted()
    return timing


def _parted() -> SimulatorError:
    return SimulatorError("hardware and model part: python -m tb.run core")


@dataclass(frozen=True, slots=True)
class InLockstep:
    """The task (`tb.sims.Task`): rows of the core held against the reference, as in a test."""

    image: Image
    rows: int

    async def __call__(self, simulator: Simulator) -> float:
        """Rows a second. SimulatorError if hardware and reference part."""
        tb = CoreTestbench(simulator, "speed", 1)
        start = time.perf_counter()
        try:
            await tb.run(self.image.segments, max_rows=self.rows)
        except (Failure, scoreboard.Mismatch):
            raise _parted() from None
        return tb.checked / (time.perf_counter() - start)


def _in_lockstep(name: str) -> float:
    rate: float = work.adapter(name).run(InLockstep(stepped(), REFERENCE), None, CORE)
    return rate


# On the reference


def _on_interpreter() -> float:
    """Instructions of the guest alone: without a trace, and of code that cannot change."""
    image = alone()
    ram = bytes(Memory(image.segments).ram)
    data = image.symbols["result"] & -_PAGE  # code has pages of its own
    state = State(pc=GUEST_BASE)
    code = ram[GUEST_BASE - RAM_BASE : data - RAM_BASE]
    state.memory.map(GUEST_BASE, code, writable=False)
    state.memory.map(data, ram[data - RAM_BASE :])
    start = time.perf_counter()
    with contextlib.suppress(interpreter.StepLimit):
        interpreter.run(state, image.symbols["end_of_run"], INTERPRETED)
    return INTERPRETED / (time.perf_counter() - start)


def _on_reference() -> Timing:
    return reference(stepped().segments, REFERENCE)
