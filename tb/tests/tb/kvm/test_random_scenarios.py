"""Random scenarios: the host of upstream keeps all properties, and no other does."""

import asyncio
from collections import Counter
from struct import iter_unpack

import pytest

from model.a64.processor import QUIET
from model.hyp import sequences
from model.hyp.words import Sequence
from model.kvm.engine import NoExit
from model.kvm.host import Host, HypPanic
from model.kvm.properties import Property
from model.kvm.session import Guest, KickedEngine, Session
from model.kvm.upstream import Upstream
from model.programs.image import Image
from model.programs.layout import GUEST_BASE
from tb.core.program import ISB, Code, msr, text, word
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.kvm import random_scenarios
from tb.kvm.hosts import HOSTS, v1
from tb.kvm.quick import QuickEngine
from tb.kvm.random_guests import HANDLERS, MAX_EVENTS, guest_of
from tb.kvm.random_scenarios import differences, run_again, run_scenario, scenario_of, shadow_of
from tb.work import adapter

BLOCK = 60  #: seeds a test
QUICK = QuickEngine()  #: starts as new each time


async def runs(seed, host="upstream", engine=QUICK):
    """(shadow, session) of a seed."""
    scenario = scenario_of(seed)
    shadow = await shadow_of(scenario, engine)
    return shadow, await run_scenario(scenario, shadow, host, engine)


def broken(host, seeds):
    """In how many scenarios a host breaks each property; how many do not go as their shadow."""
    counts = Counter()
    for seed in seeds:
        shadow, session = asyncio.run(runs(seed, host))
        counts.update({each.property for each in session.watch.broken})
        counts["differs"] += bool(differences(session, shadow))
        counts["differs, and nothing is broken"] += bool(
            differences(session, shadow) and not session.watch.broken
        )
    return counts


def in_full(session):
    """What has come of a run, but for rows and cycles."""
    events = [event._replace(cycle=0) for event in session.events]
    verdicts = [(each.property, each.run, each.pc, each.text) for each in session.watch.broken]
    return events, verdicts, session.cpu.regs, session.cpu.log


@pytest.mark.parametrize("first", range(0, 4 * BLOCK, BLOCK))
def test_the_host_of_upstream_keeps_all_properties(first):
    for seed in range(first, first + BLOCK):
        shadow, session = asyncio.run(runs(seed))
        assert not session.watch.broken, f"seed {seed}: {session.watch.broken[0]}"
        assert not differences(session, shadow), f"seed {seed}"
        assert 10 < len(session.events) < MAX_EVENTS


@pytest.mark.parametrize("host", ["v1", "bic", "callout"])
def test_the_other_hosts_are_caught(host):
    counts = broken(host, range(BLOCK))
    often = {Property.P1: 0.9, Property.P3: 0.9, Property.P6: 0.7, Property.P4: 0.05}
    if host != "callout":  # which takes back what it has set
        often[Property.P7] = 0.4
    assert {each: counts[each] for each in often if counts[each] < often[each] * BLOCK} == {}
    assert counts["differs"] > 0.5 * BLOCK
    assert not counts["differs, and nothing is broken"]


class KeepsTde(Host):
    """Debug exceptions go on going to EL2 when debugging is off."""

    def set_guest_debug(self, cpu, control):
        tde = cpu.regs.mdcr_el2
        super().set_guest_debug(cpu, control)
        cpu.regs.mdcr_el2 |= tde


class StaleState(Upstream):
    """What it emulates it takes for stepped from where the guest was entered."""

    def finish(self, cpu):
        before = cpu.before
        super().finish(cpu)
        cpu.before = before


class SeesNoTrap(Upstream):
    """An instruction that is emulated is no step."""

    def skip_instruction(self, cpu):
        stepped = cpu.stepped
        super().skip_instruction(cpu)
        cpu.stepped = stepped


class ForgetsOwnSteps(Upstream):
    """The guest does not step itself while the host steps it, and nobody says so."""

    def begin(self, cpu, run):
        return 1


class KeepsOsLock(Upstream):
    """The guest's OS Lock stays: no step exception comes."""

    def setup(self, cpu):
        lock = cpu.regs.os_lock
        super().setup(cpu)
        cpu.regs.os_lock = lock


class KeepsBits(Upstream):
    """The host's MDSCR_EL1.SS is left to the guest."""

    def finish(self, cpu):
        mdscr = cpu.regs.mdscr_el1
        super().finish(cpu)
        cpu.regs.mdscr_el1 = mdscr


@pytest.mark.parametrize(
    ("kind", "sequence", "properties"),
    [
        (KeepsTde, "v1", {Property.P2, Property.P5, Property.P7}),
        (StaleState, "callout", {Property.P3}),
        (SeesNoTrap, "callout", {Property.P1, Property.P6}),
        (ForgetsOwnSteps, "callout", {Property.P4}),
        (KeepsOsLock, "callout", {Property.P1}),
        (KeepsBits, "callout", {Property.P3, Property.P7}),
    ],
)
def test_what_a_host_does_wrong_is_found(monkeypatch, kind, sequence, properties):
    monkeypatch.setitem(HOSTS, "wrong", lambda: kind(sequences.load(sequence)))
    counts = broken("wrong", range(BLOCK))
    assert properties <= counts.keys()


def parts(scenario):
    """All that there is of a scenario."""
    guest = scenario.guest
    return guest.image, guest.virqs, guest.aborts, scenario.advance_first, [*scenario.script()]


def test_a_seed_gives_the_same_again_and_another_seed_another():
    assert parts(scenario_of(7)) == parts(scenario_of(7))
    first, second = (in_full(asyncio.run(runs(7))[1]) for _ in range(2))
    assert first == second
    image, *_, script = parts(scenario_of(7))
    assert scenario_of(8).guest.image != image
    assert [*scenario_of(8).script()] != script


def test_guests_do_all_that_they_are_to_do():
    events = [
        event
        for seed in range(BLOCK)
        for event in asyncio.run(shadow_of(scenario_of(seed), QUICK)).events
    ]
    assert {event.view.pstate & 0xF for event in events} == {0b0000, 0b0100, 0b0101}
    kinds = {(event.exception, event.own_step, event.by_host) for event in events}
    assert kinds == {(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0)}
    assert {event.view.pstate >> 20 & 1 for event in events} == {0, 1}  # IL
    assert {event.view.mdscr_el1 & 0xA001 for event in events} >= {0, 1, 0x2000, 0x2001, 0x8000}
    assert any(event.pc < GUEST_BASE for event in events)  # where nothing can be fetched
    assert any(event.pc >= HANDLERS for event in events)


def test_a_guest_without_breakpoints_and_steps_of_its_own_has_none():
    for seed in range(BLOCK):
        guest = guest_of(seed, own_steps=False, breakpoints=False)
        session = Session(QUICK, HOSTS["upstream"](), guest)
        asyncio.run(_to_the_end(session))
        assert session.over
        assert not any(event.own_step for event in session.events)
        words = [
            each for _, content in guest.image.segments for (each,) in iter_unpack("<I", content)
        ]
        assert not any(text(each, GUEST_BASE).startswith("BRK") for each in words[:80])


async def _to_the_end(session):
    await session.start()
    await session.free_run(MAX_EVENTS)


def test_a_guest_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setattr(random_scenarios, "MAX_EVENTS", 20)
    with pytest.raises(ValueError, match=r"^the guest of seed 1 has not ended: 20 events$"):
        asyncio.run(shadow_of(scenario_of(1), QUICK))


def test_what_differs_from_the_shadow_is_said():
    shadow, session = asyncio.run(runs(3))
    assert differences(session, shadow) == []
    longer = shadow._replace(events=[*shadow.events, shadow.events[-1]])
    count = len(shadow.events)
    assert differences(session, longer) == [f"{count} events, without debugging {count + 1}"]
    other = [*shadow.events]
    other[5] = other[5]._replace(exception=True, esr=0xCA00_0022)
    (said,) = differences(session, shadow._replace(events=other))
    assert said == f"event 5 at {other[5].pc:#x}: not what it is without debugging"
    shadow.regs.tpidr_el1 ^= 1
    assert differences(session, shadow) == ["tpidr_el1 is 0, without debugging 1"]
    session.over = False
    assert differences(session, shadow) == [f"not over after {count} events"]


# The engine that does the world switch at once


@pytest.mark.parametrize("host", HOSTS)
def test_a_world_switch_at_once_is_the_same_as_one_row_by_row(host):
    for seed in range(3):
        quick = asyncio.run(runs(seed, host))
        slow = asyncio.run(runs(seed, host, None))
        assert in_full(quick[1]) == in_full(slow[1])
        assert quick[0].regs == slow[0].regs


def small_guest():
    code = Code(GUEST_BASE)
    code.put(msr("MDSCR_EL1", 1), ISB)
    code.label("endless")
    code.branch("B", "endless")
    words = tuple((at, each.to_bytes(4, "little")) for at, each in code.image().items())
    return Guest(Image(words, {}, GUEST_BASE))


@pytest.mark.parametrize("engine", [QuickEngine, KickedEngine])
def test_an_undefined_word_in_the_sequence_is_a_panic(engine):
    host = Host(Sequence("bad", (word("NOP"), 0), ("", "")))
    session = Session(engine(), host, small_guest())
    with pytest.raises(HypPanic, match=r"^an exception at EL2: ESR_EL2 0x2000000, PC 0x[0-9a-f]+$"):
        asyncio.run(_to_the_end(session))


@pytest.mark.parametrize("words", [(), (word("B", imm26=0),)])
def test_what_does_not_come_back_is_no_exit(words):
    async def run():
        session = Session(
            QuickEngine(), Host(Sequence("s", words, ("",) * len(words))), small_guest()
        )
        await session.start()
        await session.kvm_run()

    with pytest.raises(NoExit, match=r"^no exit to the host in 200,000 rows: at 0x"):
        asyncio.run(run())


def test_the_doorbell_that_nobody_rings():
    async def run():
        session = Session(QUICK, v1(), small_guest())
        await session.start()
        return (await QUICK.run([QUIET])).rows

    assert len(asyncio.run(run())) == 2


# The core


def on_core(task):
    """What a task makes of the compiled core's engine."""
    if why := adapter("compiled").missing():
        pytest.skip(f"not run: {why}")

    async def run(simulator):
        return await task(CoreTestbench(simulator, "kvm", 1).engine())

    return adapter("compiled").run(run, None, CORE)


def test_the_core_agrees_in_every_row_event_and_verdict():
    async def task(engine):
        for seed, host in ((1, "upstream"), (2, "v1"), (3, "upstream"), (4, "callout")):
            scenario, reference = scenario_of(seed), KickedEngine()
            shadow = await shadow_of(scenario, QUICK)
            expected = await run_scenario(scenario, shadow, host, reference)
            found = await run_again(scenario, shadow, host, engine, reference.pins)
            assert in_full(found) == in_full(expected)
            assert [event.cycle for event in found.events] == sorted(
                event.cycle for event in found.events
            )

    on_core(task)
