"""The waveform of a design that has none itself: its ports, written when the run is over.

Kept are the last clock cycles since the last reset: those that led to what the test says.
"""

from collections import deque
from enum import IntEnum
from pathlib import Path
from typing import Any

from vcd import VCDWriter

from tb.harness import Design, Packing, unpack
from tb.sims.words import Words

KEPT = 20_000  #: clock cycles
PERIOD = 10  #: of the clock, in nanoseconds


class Recorder:
    """A compiled design, driven by whole words, that writes its ports to a VCD when it closes.

    The reset ends at 1/2 period, with the clock's rising edge, and cycle n since then begins n
    periods later: there is nothing before the first one that is kept.
    """

    def __init__(self, design: Design, waves: Path):
        self._design, self._waves = design, waves
        self._words = Words(design)
        self._cycles: deque[tuple[int, int]] = deque(maxlen=KEPT)
        self._count = 0

    def cycle(self, stimulus: int, reset: bool) -> int:
        """Drive, sample, pass one clock edge."""
        row = self._words.cycle(stimulus, reset)
        if reset:
            self._cycles.clear()
            self._count = 0
        else:
            self._cycles.append((stimulus, row))
            self._count += 1
        return row

    def close(self) -> None:
        """Write the file. Raises OSError."""
        try:
            with self._waves.open("w") as file:
                self._write(file)
        except OSError as error:  # of a full disk it does not say which
            raise OSError(error.errno, error.strerror, str(self._waves)) from None

    def _write(self, file: Any) -> None:
        first = self._count - len(self._cycles)
        with VCDWriter(file, "1 ns", check_values=False) as writer:
            clock = writer.register_var("ports", "clk", "wire", 1, init=0)
            reset = writer.register_var("ports", "reset", "wire", 1, init=1)
            sides = (
                _Side(writer, "stimulus", self._design.stimulus),
                _Side(writer, "row", self._design.row),
            )
            writer.change(reset, PERIOD // 2, 0)
            for at, words in enumerate(self._cycles, first):
                time = PERIOD * at + PERIOD // 2
                for side, word in zip(sides, words, strict=True):
                    side.show(time, word)
                writer.change(clock, time, 1)
                writer.change(clock, time + PERIOD // 2, 0)
            writer.close(PERIOD * self._count + PERIOD // 2)


class _Side:
    """The ports of one word, as variables with the names that they have elsewhere."""

    def __init__(self, writer: VCDWriter, word: str, packing: Packing):
        self._writer, self._packing = writer, packing
        self._word: int | None = None
        self._variables = {
            name: writer.register_var(
                "ports",
                f"{word}_{name}",
                "string" if _members(slot.shape) else "wire",
                slot.width,
                init="" if _members(slot.shape) else 0,
            )
            for name, slot in packing.items()
        }

    def show(self, time: int, word: int) -> None:
        """The ports at a time; those that change are written."""
        if word == self._word:
            return
        self._word = word
        for name, value in unpack(self._packing, word).items():
            names = _members(self._packing[name].shape)
            shown: int | str = names.get(value, "?") if names else value
            self._writer.change(self._variables[name], time, shown)


def _members(shape: Any) -> dict[int, str]:
    """The names of an enumeration's values; none of another shape."""
    if isinstance(shape, type) and issubclass(shape, IntEnum):
        return {int(member): member.name for member in shape}
    return {}
