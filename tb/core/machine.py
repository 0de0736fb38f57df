"""The core with memory around it: an image is loaded, and rows of the retire trace come out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from model.arch import RAM_BASE, RAM_SIZE, Retire, StepState
from tb.core.rows import INPUTS, Inputs, Rows, chunks, input_values, member
from tb.harness import CORE, Design, Slot, pack

Image = Iterable[tuple[int, bytes]]  #: addresses and what is there

#: What an answer holds where nothing was asked for, or where it is an error: a core that looks at
#: it takes a fault or computes nonsense, and does not go on unseen.
NO_WORD, NO_DATA = (1 << 32) - 1, (1 << 128) - 1
NOTHING = {
    "fetch__response__word": NO_WORD,
    "fetch__response__error": 1,
    "data__response__data": NO_DATA,
    "data__response__error": 1,
}


class ImageError(Exception):
    """An image that does not fit in the memory: one line."""


class Memory:
    """RAM; where there is none, an access gives an error."""

    def __init__(self, image: Image = ()):
        self.ram = bytearray(RAM_SIZE)
        for address, content in image:
            at = address - RAM_BASE
            if not 0 <= at <= at + len(content) <= RAM_SIZE:
                raise ImageError(f"{address:#x}: {len(content)} bytes are not all in RAM")
            self.ram[at : at + len(content)] = content

    def without(self, address: int, size: int) -> int | None:
        """The index of the first byte of an access that is not in RAM; None if all are."""
        end = RAM_BASE + RAM_SIZE
        if RAM_BASE <= address <= end - size:
            return None
        return end - address if RAM_BASE <= address < end else 0

    def read(self, address: int, size: int) -> int:
        """Bytes in RAM, little-endian."""
        at = address - RAM_BASE
        return int.from_bytes(self.ram[at : at + size], "little")

    def write(self, address: int, size: int, data: int) -> None:
        """The low bytes of `data` to RAM."""
        at = address - RAM_BASE
        self.ram[at : at + size] = (data & (1 << 8 * size) - 1).to_bytes(size, "little")

    def load(self, address: int, size: int) -> bytes:
        """Bytes of RAM. ValueError if they are not all there."""
        return bytes(self.ram[self._all_there(address, size)])

    def store(self, address: int, data: bytes) -> None:
        """Put bytes into RAM. ValueError if they do not all fit there."""
        self.ram[self._all_there(address, len(data))] = data

    def _all_there(self, address: int, size: int) -> slice:
        if self.without(address, size) is not None:
            raise ValueError(f"{size} bytes at {address:#x} are not all in RAM")
        return slice(address - RAM_BASE, address - RAM_BASE + size)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends."""

    rows: int
    cycles: int  #: of the clock, since the reset
    #: the instruction that branches to itself ends it too, unless it is stepped
    at_self_branch: bool = True
    #: a row after which the PC is this ends it too; the next run goes on from there
    stop_pc: int | None = None


class Machine(Protocol):
    """A core that runs a program."""

    memory: Memory  #: may be read and changed between runs: the core's next access sees it
    rows: int  #: so far
    cycles: int  #: of the clock, so far
    at_end: bool  #: it has come to an instruction that branches to itself
    batch: int  #: rows that are best asked for at once, at most

    async def start(self, image: Image, inputs: Inputs) -> None:
        """Load a program, and reset the core. ImageError."""

    def give(self, inputs: Inputs) -> None:
        """The rows from the next one on meet these inputs, the last of them for ever after."""

    async def run(self, limits: Limits) -> Rows:
        """The next rows, up to `limits.rows` in all; none if `limits.cycles` are over.

        The word of the row after the last one is fetched already: a change of it is not seen.
        """


def branches_to_itself(row: Any) -> bool:
    """Whether nothing would ever come after this row: no step exception either."""
    return (
        row["kind"] == Retire.INSTRUCTION
        and row["pc_after"] == row["pc"]
        and row["state_after"] != StepState.ACTIVE_PENDING
    )


class Cycled(Protocol):
    """A simulator, as far as this needs it (`tb.testbench.Simulator`)."""

    async def reset(self) -> None:
        """Bring the design to its reset state."""

    async def cycle(self, stimulus: int) -> int:
        """One clock cycle."""


class CycleByCycle:
    """A machine around any simulator."""

    batch = 256

    def __init__(self, simulator: Cycled, design: Design = CORE):
        self.memory = Memory()
        self.rows = self.cycles = 0
        self.at_end = False
        self._simulator = simulator
        self._row, self._stimulus = design.row, design.stimulus
        self._inputs: list[int] = []
        self._given_from = 0  #: the row that the first of the inputs is for
        self._nothing = pack(self._stimulus, NOTHING)

    async def start(self, image: Image, inputs: Inputs) -> None:
        """See `Machine`."""
        self.memory = Memory(image)
        self.rows = self.cycles = 0
        self.at_end = False
        self.give(inputs)
        self._answer = self._nothing
        await self._simulator.reset()

    def give(self, inputs: Inputs) -> None:
        """See `Machine`."""
        self._inputs = [
            pack(self._stimulus, {INPUTS[n]: value for n, value in input_values(bits).items()})
            for bits in inputs.tolist()
        ]
        self._given_from = self.rows

    async def run(self, limits: Limits) -> Rows:
        """See `Machine`."""
        first, words, cycles = self.rows, [], []
        stopped = self.at_end
        while self.rows < limits.rows and self.cycles < limits.cycles and not stopped:
            row = await self._simulator.cycle(self._given() | self._answer)
            self._answer = self._respond(row)
            if self._get(row, "valid"):
                words.append(row)
                cycles.append(self.cycles)
                self.rows += 1
                self.at_end = limits.at_self_branch and self._ends(row)
                stopped = self.at_end or self._get(row, "pc_after") == limits.stop_pc
            self.cycles += 1
        return Rows(self._raw(words), np.array(cycles, np.uint64), first)

    def _given(self) -> int:
        return self._inputs[min(self.rows - self._given_from, len(self._inputs) - 1)]

    def _get(self, row: int, name: str) -> int:
        return member(row, self._row[name])

    def _ends(self, row: int) -> bool:
        names = ("kind", "pc", "pc_after", "state_after")
        return branches_to_itself({name: self._get(row, name) for name in names})

    def _raw(self, words: Sequence[int]) -> Any:
        size = chunks(self._row)
        joined = b"".join(word.to_bytes(8 * size, "little") for word in words)
        return np.frombuffer(joined, np.uint64).reshape(len(words), size)

    def _respond(self, row: int) -> int:
        """What the memory does at the edge that ends the cycle, as stimulus of the next one."""
        answer = self._nothing
        if self._get(row, "out_fetch__request__valid"):  # before a store: that is seen later
            answer = self._put(answer, self._fetch(row))
        if self._get(row, "out_data__request__valid"):
            answer = self._put(answer, self._access(row))
        return answer

    def _put(self, word: int, values: dict[str, int]) -> int:
        for name, value in values.items():
            slot: Slot = self._stimulus[name]
            word = word & ~((1 << slot.width) - 1 << slot.lsb) | value << slot.lsb
        return word

    def _fetch(self, row: int) -> dict[str, int]:
        address = self._get(row, "out_fetch__request__address")
        if self.memory.without(address, 4) is not None:
            return {}
        word = self.memory.read(address, 4)
        return {"fetch__response__word": word, "fetch__response__error": 0}

    def _access(self, row: int) -> dict[str, int]:
        address = self._get(row, "out_data__request__address")
        size = 1 << self._get(row, "out_data__request__size")
        offset = self.memory.without(address, size)
        if offset is not None:
            return {"data__response__fault_offset": offset}
        if self._get(row, "out_data__request__write"):
            self.memory.write(address, size, self._get(row, "out_data__request__data"))
            return {"data__response__error": 0}
        data = self.memory.read(address, size)
        return {"data__response__data": data, "data__response__error": 0}
