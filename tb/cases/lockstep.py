"""Constrained-random sequences in many lanes, in lockstep with the model."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from tb import coverage, scoreboard, stimulus
from tb.cases import case
from tb.scoreboard import Move
from tb.testbench import Failure, Testbench

_ALONE = 4  #: steps of a lane that are gone through again, cycle by cycle


async def _sequence(tb: Testbench, idle: float, changes: float) -> None:
    """Random events; `idle` and `changes` are the chances of an idle cycle and of a change."""
    simulator, seed = tb.simulator, tb.rng.getrandbits(64)
    moves = partial(stimulus.sequence, seed, simulator.lanes, simulator.steps, idle, changes)
    wrong = await _play(tb, moves())
    lane, steps = wrong or (0, _ALONE)
    await _alone(tb, moves, lane, steps)
    if wrong:
        scoreboard.check(tb.cycles)  # shows the difference, cycle by cycle
        raise Failure(f"lane {lane} is wrong in step {steps} among the others, but not alone")


async def _play(tb: Testbench, moves: Iterator[Move]) -> tuple[int, int] | None:
    """Every lane; returns (lane, steps up to there) where hardware and model part, if they do."""
    steps = 0
    async for move, rows in tb.simulator.play(moves):
        steps += 1
        lane = scoreboard.wrong_lane(move, rows)
        if lane is not None:
            return lane, steps
        tb.played += move.lanes
        tb.counts += coverage.of_step(move)
    return None


async def _alone(tb: Testbench, moves: Callable[[], Iterator[Move]], lane: int, steps: int) -> None:
    """One lane again, cycle by cycle: for the table of differences, and for the waveform."""
    await tb.simulator.reset()
    for move in islice(moves(), steps):
        await tb.repeat(move, lane)


@case("D2.12", random=True)
async def events(tb: Testbench) -> None:
    """Events one after the other, the control registers as they were."""
    await _sequence(tb, idle=0, changes=0)


@case("D2.12", random=True)
async def events_and_changes(tb: Testbench) -> None:
    """The control registers change between events; some cycles are idle."""
    await _sequence(tb, idle=0.1, changes=0.3)
