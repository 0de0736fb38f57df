"""What the host's C code runs its world switch on: the reference here, the clocked core elsewhere.

An engine holds the machine from its reset on. EL2's own code waits for the host in a loop at
`host_wait`, and the host runs in between: it reads and writes memory, and lets the machine go on to
the next wait. One protocol, whatever the machine.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from model.a64.processor import QUIET, Processor
from model.a64.trace import Inputs, Row
from model.programs.image import Image

#: Rows of a run, at most: no entry, guest and exit of ours is near it.
MAX_ROWS = 200_000

WAIT = "host_wait"  #: the symbol of an image for the address at which EL2 waits


class NoExit(Exception):
    """The machine has not come back to the host: one line."""


class Ran(NamedTuple):
    """What happened between two waits."""

    rows: list[Row]  #: of the retire trace; the last one ends at `host_wait`
    cycles: list[int]  #: the clock cycle of each, since the reset; none on the reference


class Engine(Protocol):
    """A machine with memory."""

    async def start(self, image: Image) -> Ran:
        """Load an image that has the symbol `host_wait`, and come from the reset to it. NoExit."""

    async def run(self, inputs: Sequence[Inputs] = (QUIET,)) -> Ran:
        """Go on to the next `host_wait`. NoExit.

        The first row meets the first of the inputs and so on; all later rows meet the last one.
        """

    def read(self, address: int, size: int) -> bytes:
        """Bytes of RAM. ValueError if they are not all there."""

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into RAM. ValueError if they do not all fit there."""


class ReferenceEngine:
    """The reference PE as an engine."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._processor = Processor()
        self._wait = 0
        self._max_rows = max_rows

    async def start(self, image: Image) -> Ran:
        """See `Engine`."""
        self._processor = Processor()
        for address, content in image.segments:
            self.write(address, content)
        self._wait = image.symbols[WAIT]
        return await self.run()

    async def run(self, inputs: Sequence[Inputs] = (QUIET,)) -> Ran:
        """See `Engine`."""
        rows: list[Row] = []
        for n in range(self._max_rows):
            row = self._processor.step(inputs[min(n, len(inputs) - 1)])
            rows.append(row)
            if row.pc_after == self._wait:
                return Ran(rows, [])
        raise NoExit(self._no_exit(rows))

    def _no_exit(self, rows: list[Row]) -> str:
        return f"no exit to the host in {self._max_rows:,} rows: at {rows[-1].pc_after:#x}"

    def read(self, address: int, size: int) -> bytes:
        """See `Engine`."""
        return self._processor.read_memory(address, size)

    def write(self, address: int, data: bytes) -> None:
        """See `Engine`."""
        self._processor.write_memory(address, data)
