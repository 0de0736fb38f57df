"""What a case of the core takes: it runs programs, each of them held against the reference."""

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from types import SimpleNamespace

from model.kvm.engine import MAX_ROWS, Engine
from tb.bins import Counts
from tb.core import coverage
from tb.core import rows as rows_of_trace
from tb.core.engine import FIRST_BATCH, MAX_CYCLES, CoreEngine
from tb.core.lockstep import Lockstep, Mismatch
from tb.core.machine import Image, Limits, Memory
from tb.core.rows import Inputs, Rows, joined
from tb.scoreboard import Difference
from tb.testbench import Failure, Simulator, Table


class CoreTestbench:
    """One test of the core on one simulator."""

    def __init__(self, simulator: Simulator, name: str, seed: int):
        self.name, self.seed = name, seed
        self.rng = random.Random(f"{name} {seed}")
        self.remarks: list[str] = []  #: printed when the test fails
        self.tables: list[Table] = []
        self.marked: int | None = None  #: the cycle of the last run that its waveform shows
        self.clocked = 0  #: cycles of all runs
        self.checked = 0  #: rows of all runs
        self.counts = coverage.none()  #: of the rows that were held against the reference
        self.inputs = 0  #: see `tb.testbench.Testbench`: no case goes through all of them
        self.memory = Memory()  #: of the last run
        self.lockstep: Lockstep | None = None  #: of the last run
        self.most_rows = simulator.rows  #: that a long program is to be run for
        self.machine = simulator.machine()

    async def run(
        self,
        image: Image,
        inputs: Inputs | None = None,
        max_rows: int | None = None,
        max_cycles: int = MAX_CYCLES,
        at_self_branch: bool = True,
    ) -> Rows:
        """Run a program from the reset on, and hold all of it against the reference.

        It ends with `max_rows`, or at an instruction that branches to itself. Failure if it does
        not end in `max_cycles`; Mismatch; ImageError.
        """
        batches = self.batches(image, inputs, max_rows, max_cycles, at_self_branch)
        return joined([rows async for rows in batches])

    async def batches(
        self,
        image: Image,
        inputs: Inputs | None = None,
        max_rows: int | None = None,
        max_cycles: int = MAX_CYCLES,
        at_self_branch: bool = True,
        lockstep: bool = True,
    ) -> AsyncIterator[Rows]:
        """The same, for programs with so many rows that they should not all be kept.

        Without `lockstep` the rows are not held against the reference: the case must do that.
        """
        given = rows_of_trace.inputs() if inputs is None else inputs
        machine = self.machine
        held = await self.begin(image, given)
        most = max_cycles if max_rows is None else max_rows  # a row takes a cycle or more
        batch = FIRST_BATCH
        while machine.rows < most and not machine.at_end:
            wanted = min(most, machine.rows + batch)
            rows = await self.advance(held, Limits(wanted, max_cycles, at_self_branch), lockstep)
            yield rows
            if machine.rows < wanted and not machine.at_end:
                raise Failure(self._no_end(rows, max_cycles))
            batch = min(2 * batch, machine.batch)
        if lockstep:
            held.check_memory(machine.memory)

    async def begin(self, image: Image, inputs: Inputs) -> Lockstep:
        """Load a program, and reset the core; the reference for it. ImageError."""
        image = list(image)
        await self.machine.start(image, inputs)
        self.memory, self.lockstep = self.machine.memory, Lockstep(image, inputs)
        return self.lockstep

    async def advance(self, lockstep: Lockstep, limits: Limits, compare: bool = True) -> Rows:
        """The next rows of the program that has begun, held against its reference. Mismatch.

        If they are not to be compared, the reference takes note of them only.
        """
        before = self.machine.cycles
        rows = await self.machine.run(limits)
        self.clocked += self.machine.cycles - before
        self.checked += len(rows)
        if not compare:
            lockstep.pass_over(rows)
            return rows
        lockstep.check(rows)
        if len(rows):
            self.counts += coverage.count(rows.columns)
        return rows

    def engine(self, max_rows: int = MAX_ROWS, max_cycles: int = MAX_CYCLES) -> Engine:
        """The core for the host's C code: see `tb.core.engine`. There is one machine: what begins
        next, a run or another engine, ends this one.
        """
        return CoreEngine(self, max_rows, max_cycles)

    def _no_end(self, rows: Rows, max_cycles: int) -> str:
        what = f"the program has not ended after {max_cycles:,} cycles"
        if not len(rows):
            return f"{what}: no instruction has completed in the last of them"
        return f"{what} and {self.machine.rows:,} rows: it is at {rows.row(-1).pc_after:#x}"

    def expect(self, row: SimpleNamespace, **fields: int) -> None:
        """Hold a row of the last run against values that the case states itself."""
        found = [
            Difference(name, getattr(row, name), int(value))
            for name, value in fields.items()
            if getattr(row, name) != int(value)
        ]
        if found:
            raise Mismatch(row.rows, row.at, found, other="test")

    def say(self, remarks: Iterable[str]) -> None:
        """Explain: what is said is printed when the test fails."""
        self.remarks += remarks

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Something to print and keep in the report, whatever becomes of the test."""
        self.tables.append(Table(title, list(header), [list(row) for row in rows]))

    async def finish(self) -> Counts:
        """The coverage. ValueError if nothing was compared."""
        if not self.checked:
            raise ValueError("the test compared nothing: no program was run")
        return self.counts
