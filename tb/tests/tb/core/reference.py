"""A core that is the reference itself, with faults where a test wants them."""

import numpy as np

from model.a64.processor import Processor
from model.a64.trace import Inputs as Given
from model.arch import RAM_BASE, RAM_SIZE
from tb.core.machine import Memory, branches_to_itself
from tb.core.rows import Rows, chunks, input_values
from tb.harness import CORE, pack

EACH = 3  #: clock cycles that a row takes


class ReferenceMachine:
    """`tb.core.machine.Machine` made of the reference.

    `faults` is row number to changes: members of the trace, or `memory` to an address whose byte is
    to change. Row `stuck` never comes.
    """

    def __init__(self, faults=None, stuck=None):
        self.faults, self.stuck = faults or {}, stuck
        self.batch = 1 << 14
        self.memory = Memory()
        self.rows = self.cycles = 0
        self.at_end = False

    async def start(self, image, inputs):
        self.memory = Memory(image)
        self.processor = Processor()
        self.rows = self.cycles = 0
        self.at_end = False
        self.give(inputs)

    def give(self, inputs):
        self.inputs, self.given_from = inputs, self.rows

    async def run(self, limits):
        self.processor.write_memory(RAM_BASE, bytes(self.memory.ram))
        first, words, cycles = self.rows, [], []
        stopped = self.at_end
        while self.rows < limits.rows and self.cycles + EACH <= limits.cycles and not stopped:
            if self.rows == self.stuck:
                break
            bits = int(self.inputs[min(self.rows - self.given_from, len(self.inputs) - 1)])
            row = self.processor.step(Given(**input_values(bits), cycle_count=self.cycles))
            change = dict(self.faults.get(self.rows, {}))
            self._flip(change.pop("memory", None))
            words.append(pack(CORE.row, {"valid": 1, **row._asdict(), **change}))
            self.cycles += EACH
            cycles.append(self.cycles - 1)
            self.rows += 1
            self.at_end = limits.at_self_branch and branches_to_itself(row._asdict())
            stopped = self.at_end or row.pc_after == limits.stop_pc
        if self.rows < limits.rows and not stopped:
            self.cycles = limits.cycles
        self.memory.ram[:] = self.processor.read_memory(RAM_BASE, RAM_SIZE)
        size = chunks(CORE.row)
        raw = b"".join(word.to_bytes(8 * size, "little") for word in words)
        return Rows(
            np.frombuffer(raw, np.uint64).reshape(-1, size), np.array(cycles, np.uint64), first
        )

    def _flip(self, address):
        if address is not None:
            (byte,) = self.processor.read_memory(address, 1)
            self.processor.write_memory(address, bytes([byte ^ 1]))


class ReferenceSimulator:
    """`tb.testbench.Simulator`, as far as a case of the core uses it."""

    rows = 1000

    def __init__(self, faults=None, stuck=None):
        self._made = ReferenceMachine(faults, stuck)

    async def reset(self):
        """The machine does that."""

    def machine(self, design=CORE):
        return self._made
