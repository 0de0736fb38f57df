"""The simulators: one small adapter each.

An adapter is a module with `missing()`, which says what is not there to run it, with the mend, or
None; and `run(task, waves, design)`, which awaits `task(simulator)` on a fresh simulation of the
design in its harness (`tb.harness`), with a `tb.testbench.Simulator`, and returns what the task
returns. With `waves`, a VCD is written there. Tasks and their results can be pickled: some
simulators run them in a process of their own.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from tb.harness import UNIT, Design
from tb.testbench import Simulator

Task = Callable[[Simulator], Awaitable[Any]]


class SimulatorError(Exception):
    """A simulator that could not be built or run: its text says what failed, and where to look."""


def run_now(coroutine: Any) -> Any:
    """What a coroutine returns that never waits for anything, as on a simulator in this process."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the task waits for something that is not the simulator")


class Adapter(Protocol):
    """What an adapter module has."""

    def missing(self) -> str | None:
        """What is not installed, with the mend; None if the simulator can run."""

    def run(self, task: Task, waves: Path | None = None, design: Design = UNIT) -> Any:
        """Await the task on a fresh simulation; returns what it returns."""
