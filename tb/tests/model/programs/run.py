"""Running an image on the reference PE."""

from itertools import repeat
from typing import NamedTuple

from model.a64.processor import QUIET, Processor
from model.a64.trace import Inputs, Row
from model.arch import EL, ExceptionClass, Retire
from model.programs.image import Image


class Ended(NamedTuple):
    """A run that is over."""

    processor: Processor
    rows: list[Row]
    image: Image

    @property
    def at(self) -> set[str]:
        """The symbols where it ended."""
        return {name for name, address in self.image.symbols.items() if address == self.rows[-1].pc}

    def doubleword(self, symbol: str, index: int = 0) -> int:
        """64 bits of memory."""
        address = self.image.symbols[symbol] + 8 * index
        return int.from_bytes(self.processor.read_memory(address, 8), "little")

    def executed(self) -> list[tuple[int, ...]]:
        """What the guest at EL1 did: each instruction that completed, and all that it wrote."""
        return [effect(row) for row in self.rows if row.el == EL.EL1 and not row.kind]

    def steps(self) -> list[Row]:
        """The Software Step exceptions to EL2."""
        syndrome = ExceptionClass.SOFTSTEP_LOWER << 26
        return [
            row
            for row in self.rows
            if row.kind == Retire.SYNCHRONOUS
            and row.target_el == EL.EL2
            and row.esr & 0x3F << 26 == syndrome
        ]


def effect(row: Row) -> tuple[int, ...]:
    """pc, word, registers, memory, next pc and flags of a row."""
    first, last = Row._fields.index("x0_en"), Row._fields.index("nzcv_after")
    skipped = {Row._fields.index(name) for name in ("el_after", "sp_after")}
    rest = (row[index] for index in range(first, last + 1) if index not in skipped)
    return (row.pc, row.word, *rest)


def loaded(image: Image) -> Processor:
    """A PE after reset with an image in its memory."""
    processor = Processor()
    for address, contents in image.segments:
        processor.write_memory(address, contents)
    return processor


def run(image: Image, max_rows: int = 200_000, given: Inputs = QUIET) -> Ended:
    """Run an image to its end, or for so many rows."""
    processor = loaded(image)
    rows = processor.run(repeat(given), max_rows)
    return Ended(processor, rows, image)
