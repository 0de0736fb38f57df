"""Vector files on the hardware: one line a clock cycle, in as many lanes as the simulator has.

The state of a line is loaded at the edge that ends the line before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.columns import Lines
from model.planes import WORD, Planes
from model.vectors import Chunk, Outputs, expected
from tb import work
from tb.failures import value_text
from tb.harness import STIMULUS
from tb.testbench import Simulator, control_ports, event_ports, load_ports


@dataclass(frozen=True, slots=True)
class Step:
    """The lines that happen in a clock cycle, one a lane, while those of the next are loaded."""

    lanes: int
    ports: Mapping[str, Planes]


def steps(lines: Lines, most_lanes: int) -> Iterator[Step]:
    """n / lanes + 1 steps. Line at happens in lane at % lanes of step at // lanes + 1."""
    count = len(lines.pe.d)
    lanes = min(most_lanes, -(-count // WORD) * WORD)
    times = -(-count // lanes)
    events = control_ports(lines.pe) | event_ports(lines.given)
    loads = load_ports(lines.pe)
    for time in range(times + 1):
        now = {"event__valid": Planes.constant(time > 0)}
        if time > 0:
            now |= _part(events, time - 1, lanes)
        if time < times:
            now |= _part(loads, time, lanes)
        yield Step(lanes, now | {"load__enable": Planes.constant(time < times)})


def _part(ports: Mapping[str, Any], time: int, lanes: int) -> dict[str, Planes]:
    """The values of one time; where there are no lines left in a lane, 0."""
    result = {}
    for port, values in ports.items():
        here = np.zeros(lanes, dtype=np.uint64)
        part = values[time * lanes : (time + 1) * lanes]
        here[: len(part)] = part
        result[port] = Planes.of(here, STIMULUS[port].width)
    return result


@dataclass(frozen=True, slots=True)
class Drive:
    """Runs lines; gives the output columns."""

    lines: Lines

    async def __call__(self, simulator: Simulator) -> Outputs:
        """One line a clock cycle and lane."""
        await simulator.reset()
        found: list[list[Any]] = []
        async for step, rows in simulator.play(steps(self.lines, simulator.lanes)):
            found.append([rows[name].values(step.lanes) for name in Outputs._fields])
        columns = (np.concatenate(parts[1:]) for parts in zip(*found, strict=True))
        return Outputs(*(column[: len(self.lines.pe.d)] for column in columns))


def drive(simulator: str, chunk: Chunk) -> Outputs:
    """The hardware's answers to a chunk. SimulatorError if the simulator cannot run."""
    answers: Outputs = work.adapter(simulator).run(Drive(chunk.lines), None)
    return answers


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
