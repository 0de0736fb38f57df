"""Random sequences on a simulator by the clock: every cycle checked, as in a run of the tests.

`python -m tb.timed` is the process behind `Process`: a task a line comes in, a timing goes out.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model.planes import WORD, Planes
from tb import coverage, scoreboard, stimulus, work
from tb.scoreboard import Move
from tb.sims import SimulatorError
from tb.testbench import Simulator

MIB = 1 << 20


class Timing(NamedTuple):
    """What a task took, without the simulator's start."""

    cycles: int  #: in which every field was compared
    seconds: float

    @property
    def rate(self) -> float:
        """Cycles a second."""
        return self.cycles / self.seconds


@dataclass(frozen=True, slots=True)
class Timed:
    """The task (`tb.sims.Task`): draws sequences, plays them, checks and counts every cycle.

    A simulator of one design plays the first lanes of a sequence for many, and is charged that part
    of the time that drawing takes, with what the model says: what it would cost it alone, in arrays
    too short for numpy, is no matter of the simulator.
    """

    seeds: int
    lanes: int  #: that a sequence is drawn for
    steps: int
    played: int  #: the first of these lanes; a multiple of 64

    async def __call__(self, simulator: Simulator) -> Timing:
        """SimulatorError if hardware and model part."""
        await simulator.reset()
        cycles, counts = 0, coverage.none()
        moves = _First(self.played)
        start = time.perf_counter()
        for seed in range(self.seeds):
            sequence = stimulus.sequence(seed, self.lanes, self.steps)
            async for move, rows in simulator.play(moves.of(sequence)):
                if scoreboard.wrong_lane(move, rows) is not None:
                    raise SimulatorError("hardware and model part: python -m tb.run lockstep")
                counts += coverage.of_step(move)
                cycles += move.lanes if move.pe else 0
        return Timing(cycles, time.perf_counter() - start - moves.uncharged)


class _First:
    """The first lanes of sequences."""

    def __init__(self, lanes: int):
        self._lanes = lanes
        self.uncharged = 0.0  #: seconds that drawing the other lanes, and leaving them out, took

    def of(self, moves: Iterable[Move]) -> Iterator[Move]:
        """The steps of a sequence."""
        start = time.perf_counter()
        for move in moves:
            drawn = time.perf_counter() - start
            if move.lanes > self._lanes:
                charged = drawn * self._lanes / move.lanes
                move = first_lanes(move, self._lanes)
                self.uncharged += time.perf_counter() - start - charged
            yield move
            start = time.perf_counter()


def first_lanes(move: Move, lanes: int) -> Move:
    """A step in the first of its lanes alone."""

    def part(values: Any) -> Any:
        if values is None:
            return None
        names = values.__dataclass_fields__
        return replace(values, **{name: _first(getattr(values, name), lanes) for name in names})

    return Move(
        lanes,
        part(move.pe),
        part(move.given),
        part(move.effect),
        _first(move.pc, lanes),
        move.happens,
        part(move.load),
        {name: _first(planes, lanes) for name, planes in move.ports.items()},
    )


def _first(planes: Planes, lanes: int) -> Planes:
    return Planes([row[: lanes // WORD].copy() if np.ndim(row) else row for row in planes.rows])


# A process of its own


class Process:
    """Runs tasks on the compiled simulator. A context manager: it ends the process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tb.timed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which then ends it
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, task: Timed) -> None:
        """Begin a task."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(asdict(task)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def result(self) -> tuple[Timing, float]:
        """Wait for its timing and the process's peak memory, in MiB. SimulatorError if it dies."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        cycles, seconds, peak = json.loads(line)
        return Timing(cycles, seconds), peak

    def _died(self) -> SimulatorError:
        status = self._process.wait()
        text = "a process that measures ended with exit status"
        return SimulatorError(f"{text} {status}; did it run out of memory?")


def _peak() -> float:
    """This process's peak memory in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's figure is that of the parent, if that was larger
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def main() -> None:
    """Run the tasks that come."""
    for line in sys.stdin:
        timing = work.adapter("compiled").run(Timed(**json.loads(line)), None)
        print(json.dumps([*timing, _peak()]), flush=True)


if __name__ == "__main__":
    main()
