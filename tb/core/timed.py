"""A program on the core by the clock, and on the reference: what `tb.bench` measures.

Rows are made, not compared: that is what each of them can do by itself.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.a64.processor import Processor
from model.arch import ESR_ELx, ExceptionClass, Retire
from tb.core.lockstep import columns
from tb.core.machine import Limits
from tb.core.rows import U64s, inputs
from tb.testbench import Simulator

#: Enough for any number of rows, unless the core hangs.
CYCLES_PER_ROW = 1000


class Timing(NamedTuple):
    """What a run took, without the simulator's start."""

    rows: int  #: instructions and exceptions
    steps: int  #: Software Step exceptions among them
    cycles: int  #: of the clock; of the reference, which has none, 0
    seconds: float


@dataclass(frozen=True, slots=True)
class Timed:
    """The task (`tb.sims.Task`): runs a program, to its end or for so long."""

    image: Sequence[tuple[int, bytes]]
    rows: int  #: that are timed
    before: int = 0  #: rows from the reset on that are not

    async def __call__(self, simulator: Simulator) -> Timing:
        """The timing."""
        machine = simulator.machine()
        await machine.start(self.image, inputs())
        await machine.run(self._limits(self.before))
        cycles, start = machine.cycles, time.perf_counter()
        rows = await machine.run(self._limits(self.before + self.rows))
        seconds = time.perf_counter() - start
        return Timing(len(rows), _steps(rows.columns), machine.cycles - cycles, seconds)

    def _limits(self, rows: int) -> Limits:
        return Limits(rows, rows * CYCLES_PER_ROW)


def reference(image: Sequence[tuple[int, bytes]], rows: int) -> Timing:
    """The same program on the reference."""
    processor = Processor()
    for address, content in image:
        processor.write_memory(address, content)
    start = time.perf_counter()
    made = processor.run(max_rows=rows)
    seconds = time.perf_counter() - start
    return Timing(len(made), _steps(columns(made)), 0, seconds)


def _steps(found: dict[str, U64s]) -> int:
    """How many rows are Software Step exceptions."""
    ec = ESR_ELx.EC.get(found["esr"])
    step = (ec == ExceptionClass.SOFTSTEP_LOWER) | (ec == ExceptionClass.SOFTSTEP_SAME)
    return int(np.count_nonzero(step & (found["kind"] == Retire.SYNCHRONOUS)))
