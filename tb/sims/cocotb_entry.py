"""The test module that cocotb loads into the simulator: runs the task that it finds there."""

import os
import pickle
import traceback
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from tb.sims.cocotb_sim import OUTCOME, RUN, TASK
from tb.sims.one_by_one import OneByOne

PERIOD = 10  #: of the clock, in nanoseconds


class Adapter(OneByOne):
    """`tb.testbench.Simulator` over a cocotb handle of the harness."""

    def __init__(self, dut: Any):
        self._reset, self._stimulus, self._row = dut.reset, dut.stimulus, dut.row
        self._settled, self._edge = ReadOnly(), RisingEdge(dut.clk)

    async def reset(self) -> None:
        """Hold the reset for one clock edge."""
        self._reset.value = 1
        await self.cycle(0)
        self._reset.value = 0

    async def cycle(self, stimulus: int) -> int:
        """Drive, settle, sample, pass one clock edge."""
        self._stimulus.value = stimulus
        await self._settled
        row = self._row.value.to_unsigned()
        await self._edge
        return row


@cocotb.test()
async def run_task(dut: Any) -> None:
    """Await the task, and leave (result, None) or (None, exception)."""
    directory = Path(os.environ[RUN])
    task = pickle.loads((directory / TASK).read_bytes())
    dut.rst.value = 0
    dut.reset.value = 0
    Clock(dut.clk, PERIOD, unit="ns").start(start_high=False)  # the first edge ends the first cycle
    outcome: tuple[Any, Exception | None]
    try:
        outcome = (await task(Adapter(dut)), None)
    except Exception as error:
        error.add_note(traceback.format_exc())  # a pickle leaves its traceback behind
        outcome = (None, error)
    (directory / OUTCOME).write_bytes(pickle.dumps(outcome))
