"""A scenario on both engines: the reference first, then the core, which is given the same."""

from collections.abc import Sequence
from functools import cache

from model.kvm.guest_trace import GuestEvent
from model.kvm.properties import Property, Violation
from model.kvm.session import Guest, KickedEngine, ReplayedEngine, Session
from tb.core.testbench import CoreTestbench
from tb.kvm.hosts import Factory, upstream
from tb.kvm.quick import QuickEngine
from tb.kvm.scenarios import MOST_EVENTS, Scenario
from tb.sims import run_now
from tb.testbench import Failure


@cache
def _shadow(guest: Guest) -> Sequence[GuestEvent]:
    """What a guest does without debugging: under the host that has no defect."""
    return run_now(_undebugged(guest))


async def _undebugged(guest: Guest) -> Sequence[GuestEvent]:
    session = Session(QuickEngine(), upstream(), guest)
    await session.start()
    await session.free_run(MOST_EVENTS)
    return session.events


async def on_reference(scenario: Scenario, make: Factory, quick: bool = False) -> Session:
    """Play it there; `quick`: without EL2's own rows."""
    engine = QuickEngine() if quick else KickedEngine()
    return await _played(scenario, make, engine)


async def on_both(tb: CoreTestbench, scenario: Scenario, make: Factory) -> Session:
    """Play it on the reference and on the core: returns what the core did.

    Failure if the two differ in what the guest does or in the verdict; Mismatch.
    """
    engine = KickedEngine()
    first = await _played(scenario, make, engine)
    second = await _played(scenario, make, ReplayedEngine(tb.engine(), engine.pins))
    if pcs(first) != pcs(second):
        raise Failure(f"{scenario.name}: the guest does not go the same way on both engines")
    if verdict(first) != verdict(second):
        raise Failure(f"{scenario.name}: the verdicts of the two engines differ")
    return second


async def _played(
    scenario: Scenario, make: Factory, engine: KickedEngine | ReplayedEngine
) -> Session:
    session = Session(engine, make(), scenario.guest, _shadow(scenario.guest))
    await session.start()
    await scenario.script(session)
    if not session.events:
        raise Failure(f"{scenario.name}: the guest has done nothing")
    return session


def pcs(session: Session) -> list[int]:
    """Where the guest has been."""
    return [event.pc for event in session.events]


def verdict(session: Session) -> list[tuple[Property, int, int, str]]:
    """What was broken, but for the cycle, which the reference has not."""
    return [(each.property, each.run, each.pc, each.text) for each in session.watch.broken]


def broken(session: Session) -> set[Property]:
    """The properties that are."""
    return {each.property for each in session.watch.broken}


def names(properties: set[Property]) -> str:
    """As in P1, P3; a dash if there are none."""
    return ", ".join(sorted(each.name for each in properties)) or "-"


def lines(scenario: Scenario, violations: Sequence[Violation]) -> list[str]:
    """The first violation of each property, with the guest's instruction by its name."""
    found: dict[Property, str] = {}
    for each in violations:
        found.setdefault(each.property, f"{each} ({scenario.symbol(each.pc)})")
    return [found[which] for which in sorted(found, key=lambda each: each.name)]
