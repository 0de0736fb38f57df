"""Vector files on the hardware: one line a clock cycle.

The state of a line is loaded at the edge that ends the line before it.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.columns import Lines
from model.vectors import Chunk, Outputs, expected
from tb import work
from tb.failures import value_text
from tb.harness import ROW, STIMULUS, width
from tb.testbench import CONTROLS, EVENT, LOAD, WRITES, Simulator


def stimulus(lines: Lines) -> list[int]:
    """n + 1 stimulus words for n lines. The first loads the state of the first line."""
    pe, given = lines.pe, lines.given
    happen = {CONTROLS[name]: getattr(pe, name) for name in CONTROLS}
    happen |= {EVENT[name]: getattr(given, name) for name in EVENT if hasattr(given, name)}
    happen["event__valid"] = np.ones_like(pe.d)
    for name, (write, data) in WRITES.items():
        happen |= {
            write: getattr(given, name),
            data: getattr(given, name.replace("write", "value")),
        }
    load = {port: getattr(pe, name) for name, port in LOAD.items()}
    load["load__enable"] = np.ones_like(pe.d)
    events, loads = _words(happen), _words(load)
    return [event | state for event, state in zip([0, *events], [*loads, 0], strict=True)]


def _words(ports: Mapping[str, Any]) -> list[int]:
    """Arrays of shape (n,) to n words."""
    shifts = [STIMULUS[port].lsb for port in ports]
    columns = [values.astype(np.uint64).tolist() for values in ports.values()]
    return [
        sum(value << shift for value, shift in zip(values, shifts, strict=True))
        for values in zip(*columns, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Drive:
    """Runs stimulus words; gives the row of each but the first."""

    words: Sequence[int]

    async def __call__(self, simulator: Simulator) -> list[int]:
        """One word a clock cycle."""
        await simulator.reset()
        rows = [await simulator.cycle(word) for word in self.words]
        return rows[1:]


@dataclass(frozen=True, slots=True)
class TimedDrive:
    """Runs random words; gives the cycles a second, without the simulator's start."""

    cycles: int

    async def __call__(self, simulator: Simulator) -> float:
        """Cycles a second."""
        rng = random.Random(1)
        words = [rng.getrandbits(width(STIMULUS)) for _ in range(self.cycles)]
        await simulator.reset()
        start = time.perf_counter()
        for word in words:
            await simulator.cycle(word)
        return self.cycles / (time.perf_counter() - start)


def outputs(rows: Sequence[int]) -> Outputs:
    """The output columns from the rows of the trace."""

    def column(name: str) -> Any:
        slot = ROW[name]
        mask = (1 << slot.width) - 1
        return np.array([(row >> slot.lsb) & mask for row in rows], dtype=np.uint64)

    return Outputs(*(column(name) for name in Outputs._fields))


def drive(simulator: str, chunk: Chunk) -> list[int]:
    """The rows of a chunk's lines. SimulatorError if the simulator cannot run."""
    rows: list[int] = work.adapter(simulator).run(Drive(stimulus(chunk.lines)), None)
    return rows


def differences(chunk: Chunk, answers: Outputs) -> list[str]:
    """One sentence for each line and column in which the hardware is not as the model says."""
    right = expected(chunk)
    return [
        f"line {chunk.numbers[at]}: {name}: hardware "
        f"{value_text(name, int(getattr(answers, name)[at]))}, model "
        f"{value_text(name, int(getattr(right, name)[at]))}"
        for name in Outputs._fields
        for at in np.flatnonzero(getattr(answers, name) != getattr(right, name)).tolist()
    ]
