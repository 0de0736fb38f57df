"""A core in Amaranth's simulator with a memory around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from amaranth.sim import Simulator

from hw.core.core import Core
from hw.core.trace import CoreTrace
from model.arch import RAM_BASE, RAM_SIZE, RESET_VECTOR

Row = dict[str, int]

#: An input's value, or what it is in row n.
Input = int | Callable[[int], int]

PINS = ("irq", "fiq", "serror")
CHOICES = ("async_first", "isv_choice", "write_seen", "wfx_ends")


@dataclass
class Run:
    """What one run is given, and what came of it."""

    rows: int  #: to run for
    memory: dict[int, int] = field(default_factory=dict)  #: address to byte; elsewhere it is 0
    inputs: Mapping[str, Input] = field(default_factory=dict)  #: those of a row; 0 without
    trace: list[Row] = field(default_factory=list)  #: the rows ...
    cycles: list[int] = field(default_factory=list)  #: ... and the cycle of each
    limit: int = 2000  #: cycles

    def load(self, address: int, words: Sequence[int]) -> None:
        """Put words in memory."""
        for n, word in enumerate(words):
            self.store(address + 4 * n, word, 4)

    def read(self, address: int, size: int) -> int:
        """Bytes of memory, little-endian."""
        return sum(self.memory.get(address + n, 0) << 8 * n for n in range(size))

    def store(self, address: int, value: int, size: int) -> None:
        """Put bytes in memory, little-endian."""
        for n in range(size):
            self.memory[address + n] = value >> 8 * n & 0xFF

    def value(self, name: str) -> int:
        """An input in the row that comes next."""
        given = self.inputs.get(name, 0)
        return given if isinstance(given, int) else given(len(self.trace))


class Machine:
    """The core and its simulator, built once; each run begins with a reset."""

    def __init__(self):
        self.core = Core()
        self.simulator = Simulator(self.core)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._bench)
        self.current: Run | None = None

    def run(self, run: Run) -> Run:
        """Run to the number of rows asked for. AssertionError if that takes too many cycles."""
        if self.current:  # a bench that has not begun cannot be begun anew
            self.simulator.reset()
        self.current = run
        self.simulator.run()
        assert len(run.trace) == run.rows, f"{len(run.trace)} rows in {run.limit} cycles"
        return run

    async def _bench(self, ctx):
        run, core = self.current, self.core
        for cycle in range(run.limit):
            for name in PINS:
                ctx.set(getattr(core.pins, name), run.value(name))
            for name in CHOICES:
                ctx.set(getattr(core.choice, name), run.value(name))
            if ctx.get(core.retire.valid):
                fields = (name for name in CoreTrace.members if name != "valid")
                run.trace.append({name: ctx.get(getattr(core.retire, name)) for name in fields})
                run.cycles.append(cycle)
                if len(run.trace) == run.rows:
                    return
            fetched = self._fetch(ctx, run)
            answer = self._access(ctx, run)
            await ctx.tick()
            for port, value in (*fetched, *answer):
                ctx.set(port, value)

    def _fetch(self, ctx, run):
        port = self.core.fetch
        if not ctx.get(port.request.valid):
            return []
        address = ctx.get(port.request.address)
        assert address % 4 == 0
        error = not _in_ram(address)
        return [(port.response.word, run.read(address, 4)), (port.response.error, error)]

    def _access(self, ctx, run):
        request, response = self.core.data.request, self.core.data.response
        if not ctx.get(request.valid):
            return []
        address, size = ctx.get(request.address), 1 << ctx.get(request.size)
        missing = [n for n in range(size) if not _in_ram((address + n) % (1 << 64))]
        if missing:
            return [(response.error, 1), (response.fault_offset, missing[0])]
        if ctx.get(request.write):
            run.store(address, ctx.get(request.data), size)
        return [(response.error, 0), (response.data, run.read(address, size))]


def _in_ram(address):
    return RAM_BASE <= address < RAM_BASE + RAM_SIZE


@pytest.fixture(scope="session")
def machine():
    """Runs words on the core: `machine({address: words}, rows, **inputs)` returns a Run."""
    simulated = Machine()

    def run(programs, rows, limit=2000, **inputs):
        work = Run(rows, inputs=inputs, limit=limit)
        if not isinstance(programs, dict):
            programs = {RESET_VECTOR: programs}
        for address, words in programs.items():
            work.load(address, words)
        return simulated.run(work)

    return run
