"""Lanes on a simulator that has one design: one lane after the other."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from model.planes import Planes
from tb.core.machine import CycleByCycle, Machine
from tb.harness import CORE, Design, Rows, Step, rows_of, words_of

S = TypeVar("S", bound=Step)


class OneByOne(ABC):
    """Base of the adapters that drive a word a cycle: `play` is made of `cycle`."""

    lanes, steps, rows = 64, 24, 200  #: few: each cycle takes its time

    @abstractmethod
    async def reset(self) -> None:
        """See `tb.testbench.Simulator`."""

    @abstractmethod
    async def cycle(self, stimulus: int) -> int:
        """One clock cycle: see `tb.testbench.Simulator`."""

    def machine(self, design: Design = CORE) -> Machine:
        """See `tb.testbench.Simulator`."""
        return CycleByCycle(self, design)

    async def play(self, steps: Iterable[S]) -> AsyncIterator[tuple[S, Rows]]:
        """See `tb.testbench.Simulator`."""
        every = list(steps)
        held: dict[str, Planes] = {}
        words = [words_of(held := {**held, **step.ports}, step.lanes) for step in every]
        rows = [
            [await self.cycle(word) for word in of_lane] for of_lane in zip(*words, strict=True)
        ]
        for step, of_step in zip(every, zip(*rows, strict=True), strict=True):
            yield step, rows_of(of_step)
