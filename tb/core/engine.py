"""The clocked core as the engine of the host's C code, every row held against the reference."""

from collections.abc import Sequence
from operator import or_
from typing import TYPE_CHECKING

from model.a64.processor import QUIET
from model.a64.trace import Inputs, Row
from model.arch import RESET_VECTOR
from model.kvm.engine import MAX_ROWS, WAIT, NoExit, Ran
from model.programs.image import Image
from tb.core.lockstep import WIDE, Lockstep
from tb.core.machine import Limits
from tb.core.rows import HIGH, WORD, Rows, packed

if TYPE_CHECKING:
    from tb.core.testbench import CoreTestbench

MAX_CYCLES = 10_000_000  #: of the clock, for a run
FIRST_BATCH = 256  #: rows that are compared at once, at first


class CoreEngine:
    """`model.kvm.engine.Engine` on the machine of a testbench.

    Rows are compared as they come, and all of RAM at each wait: what the host reads, both have.
    """

    def __init__(
        self, tb: "CoreTestbench", max_rows: int = MAX_ROWS, max_cycles: int = MAX_CYCLES
    ) -> None:
        self._tb = tb
        self._max_rows, self._max_cycles = max_rows, max_cycles
        self._wait = 0
        self._lockstep: Lockstep | None = None

    async def start(self, image: Image) -> Ran:
        """See `Engine`. Failure if memory differs, Mismatch, ImageError."""
        self._wait = image.symbols[WAIT]
        self._lockstep = await self._tb.begin(image.segments, packed([QUIET]))
        return await self._go_on(self._lockstep)

    async def run(self, inputs: Sequence[Inputs] = (QUIET,)) -> Ran:
        """See `Engine`. Failure if memory differs, Mismatch.

        What a read of the cycle counter gives, the core says itself. It has fetched the word at
        `host_wait` already: a host that has changed that word gets a Mismatch.
        """
        lockstep, given = self._begun(), packed(inputs)
        self._tb.machine.give(given)
        lockstep.give(given)
        return await self._go_on(lockstep)

    def read(self, address: int, size: int) -> bytes:
        """See `Engine`."""
        return self._tb.machine.memory.load(address, size)

    def write(self, address: int, data: bytes) -> None:
        """See `Engine`."""
        self._begun().write(address, data)
        self._tb.machine.memory.store(address, data)

    def _begun(self) -> Lockstep:
        if self._lockstep is None or self._lockstep is not self._tb.lockstep:
            raise ValueError("the machine runs no program of this engine: it has to be started")
        return self._lockstep

    async def _go_on(self, lockstep: Lockstep) -> Ran:
        """The rows to the next wait, in batches. NoExit."""
        machine = self._tb.machine
        most, last = machine.rows + self._max_rows, machine.cycles + self._max_cycles
        ran = Ran([], [])
        batch = FIRST_BATCH
        while machine.rows < most and machine.cycles < last:
            limits = Limits(min(most, machine.rows + batch), last, False, self._wait)
            part = await self._tb.advance(lockstep, limits)
            ran.rows.extend(as_reference(part))
            ran.cycles.extend(part.cycles.tolist())
            if len(part) and part["pc_after"][-1] == self._wait:
                lockstep.check_memory(machine.memory)
                return ran
            batch = min(2 * batch, machine.batch)
        raise NoExit(self._no_exit(lockstep, machine.rows < most))

    def _no_exit(self, lockstep: Lockstep, out_of_cycles: bool) -> str:
        spent = f"{self._max_cycles:,} cycles" if out_of_cycles else f"{self._max_rows:,} rows"
        recent = lockstep.recent
        pc = recent.row(-1).pc_after if recent else RESET_VECTOR
        return f"no exit to the host in {spent}: at {pc:#x}"


def as_reference(rows: Rows) -> list[Row]:
    """Rows as the reference has them."""
    columns = {name: rows[name].tolist() for name in Row._fields}
    high = [value << WORD for value in rows[WIDE + HIGH].tolist()]
    columns[WIDE] = map(or_, columns[WIDE], high)
    return list(map(Row._make, zip(*columns.values(), strict=True)))
