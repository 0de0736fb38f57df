"""Constrained-random sequences: events, register changes, choices, in lockstep with the model."""

from tb import stimulus
from tb.cases import case
from tb.testbench import Testbench

EVENTS = 1500  #: of one sequence
_STAY = 7  #: events, on average, before the PE is put somewhere else


async def _sequence(tb: Testbench, idle: float, changes: float) -> None:
    """Random events; `idle` and `changes` are the chances of an idle cycle and of a change."""
    await tb.start(**stimulus.start(tb.rng))
    for _ in range(EVENTS):
        if tb.rng.random() < changes:
            stimulus.change(tb.rng, tb)
        if tb.rng.random() < idle:
            await tb.idle()
        stimulus.halt(tb.rng, tb)
        kind, columns = stimulus.event(tb.rng, tb)
        move = stimulus.start(tb.rng) if tb.rng.random() < 1 / _STAY else None
        await tb.do(kind, move, **columns)


@case("D2.12", random=True)
async def events(tb: Testbench) -> None:
    """Events one after the other, the control registers as they were."""
    await _sequence(tb, idle=0, changes=0)


@case("D2.12", random=True)
async def events_and_changes(tb: Testbench) -> None:
    """The control registers change between events; some cycles are idle."""
    await _sequence(tb, idle=0.1, changes=0.3)
