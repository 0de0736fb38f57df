"""Amaranth's own simulator: nothing to install."""

import contextlib
from pathlib import Path
from typing import Any

from amaranth.sim import Simulator, SimulatorContext

from tb.harness import UNIT, Design, Harness
from tb.sims import Task
from tb.sims.one_by_one import OneByOne

PERIOD = 10e-9  #: of the clock, in seconds


class Adapter(OneByOne):
    """`tb.testbench.Simulator` over an Amaranth testbench context."""

    def __init__(self, harness: Harness, context: SimulatorContext):
        self._harness = harness
        self._context = context

    async def reset(self) -> None:
        """Hold the reset for one clock edge."""
        self._context.set(self._harness.reset, 1)
        await self.cycle(0)
        self._context.set(self._harness.reset, 0)

    async def cycle(self, stimulus: int) -> int:
        """Drive, settle, sample, pass one clock edge."""
        self._context.set(self._harness.stimulus, stimulus)
        row = self._context.get(self._harness.row)
        await self._context.tick()
        return row


def missing() -> str | None:
    """Nothing: it comes with Amaranth."""
    return None


def run(task: Task, waves: Path | None = None, design: Design = UNIT) -> Any:
    """Await a task on a fresh simulation; with `waves`, write a VCD there."""
    harness = Harness(design)
    simulator = Simulator(harness)
    simulator.add_clock(PERIOD)
    results: list[Any] = []

    async def testbench(context: SimulatorContext) -> None:
        results.append(await task(Adapter(harness, context)))

    simulator.add_testbench(testbench)
    with simulator.write_vcd(str(waves)) if waves else contextlib.nullcontext():
        simulator.run()
    return results[0]
