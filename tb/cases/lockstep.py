"""Constrained-random sequences in many lanes, in lockstep with the model."""

from functools import partial

from tb import stimulus
from tb.cases import case
from tb.testbench import Testbench


async def _sequence(tb: Testbench, idle: float, changes: float) -> None:
    """Random events; `idle` and `changes` are the chances of an idle cycle and of a change."""
    lanes, steps = tb.simulator.lanes, tb.simulator.steps
    await tb.play(partial(stimulus.sequence, tb.rng.getrandbits(64), lanes, steps, idle, changes))


@case("D2.12", random=True)
async def events(tb: Testbench) -> None:
    """Events one after the other, the control registers as they were."""
    await _sequence(tb, idle=0, changes=0)


@case("D2.12", random=True)
async def events_and_changes(tb: Testbench) -> None:
    """The control registers change between events; some cycles are idle."""
    await _sequence(tb, idle=0.1, changes=0.3)
