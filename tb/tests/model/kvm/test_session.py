"""User space with one vcpu: interrupts at an event, answers to accesses, and what replays it."""

from errno import EINTR, ENOSYS

import pytest

from model.a64.trace import Inputs
from model.arch import EL, Retire
from model.hyp.sequences import load
from model.kvm.engine import NoExit, ReferenceEngine
from model.kvm.host import Exit, Host
from model.kvm.session import (
    Guest,
    KickedEngine,
    ReplayedEngine,
    Session,
    device,
    shadow_of,
)
from model.kvm.uapi import DebugExit, ExitReason
from model.kvm.upstream import Upstream
from model.programs import load as programs
from tb.core.program import mov, msr, word
from tb.tests.model.a64.pe import (
    ADD_X0_1,
    B_SELF,
    HVC,
    ISB,
    LDR_X0_X1,
    NOP,
    STR_X0_X1,
    SVC,
    WFI,
    mrs,
)
from tb.tests.model.kvm.guests import DEVICE, OFF, STEPPING, VECTORS, image, now

PC = 0x4010_0000
VIRQ = VECTORS + 0x280  #: its vector, of EL1h

#: It sets up its vectors, unmasks interrupts, and does something of every kind.
SETUP = (*mov(0, VECTORS), msr("VBAR_EL1", 0), *mov(1, DEVICE), word("MSR DAIFClr", CRm=0b1111))
BUSY = image(
    *SETUP,
    *(ADD_X0_1, LDR_X0_X1, WFI, SVC, STR_X0_X1, ISB, HVC, NOP, LDR_X0_X1, ADD_X0_1),
    *OFF,
    at_200=(mrs("ESR_EL1", 5), mrs("ELR_EL1", 6), word("ERET")),
    at_280=(ADD_X0_1, word("ERET")),
)
LENGTH = 4 + 10 + 3 + len(OFF)  #: events: of SETUP, of what comes then, of the handler, and off
START = PC + 4 * len(SETUP)
PLAIN = image(*[ADD_X0_1] * 30, *OFF)


def host(advance_first=True) -> Upstream:
    return Upstream(load("callout"), advance_first)


def session_of(guest, engine=None, of=None, shadow=None) -> Session:
    what = guest if isinstance(guest, Guest) else Guest(guest)
    session = Session(engine or KickedEngine(), of or host(), what, shadow)
    now(session.start())
    return session


def busy(virqs=(), aborts=()) -> Guest:
    return Guest(BUSY, frozenset(virqs), frozenset(aborts))


# Free runs and steps


@pytest.mark.parametrize("events", [0, 1, 5, 17])
def test_a_free_run_ends_after_as_many_events_as_are_asked_for(events):
    session = session_of(PLAIN)
    now(session.free_run(events))
    assert len(session.events) == events
    assert session.events == sorted(session.events, key=lambda event: event.cycle)
    assert session.cpu.regs.elr == PC + 4 * events


def test_a_free_run_goes_on_where_it_was():
    session, whole = session_of(busy()), session_of(busy())
    for events in range(1, 24):
        now(session.free_run(events))
        assert len(session.events) == min(events, LENGTH)
    now(whole.free_run(23))
    assert [event.view for event in session.events] == [event.view for event in whole.events]


def test_a_free_run_ends_with_the_guest():
    session = session_of(PLAIN)
    now(session.free_run(1000))
    assert session.over
    assert len(session.events) == 30 + len(OFF)
    now(session.free_run(2000))
    assert len(session.events) == 30 + len(OFF)


def test_a_step_is_one_event_though_an_access_takes_two_runs():
    session = session_of(busy())
    session.debug(STEPPING)
    n = 0
    while not session.over:
        now(session.step())
        n += 1
        assert len(session.events) == n
    assert session.run_page.exit_reason == ExitReason.SYSTEM_EVENT


def test_a_control_that_is_refused_is_an_error():
    session = session_of(PLAIN)
    with pytest.raises(ValueError) as error:
        session.debug(0x2_0000)
    assert str(error.value) == "KVM_SET_GUEST_DEBUG refuses 0x20000"


def test_a_guest_that_cannot_go_on_is_over():
    session = session_of(image(*mov(1, DEVICE), 0xA940_0C22))  # ldp x2, x3, [x1]
    assert now(session.kvm_run()) == -ENOSYS
    assert session.over


class KnowsNothing(Host):
    def handle_exit(self, cpu, run):
        run.exit_reason = ExitReason.UNKNOWN
        return 0


def test_a_guest_whose_exit_is_not_known_is_over():
    session = session_of(PLAIN, of=KnowsNothing(load("v1")))
    now(session.free_run(100))
    assert session.over


# Interrupts of the host


@pytest.mark.parametrize("after", [0, 1, 7, 30])
@pytest.mark.parametrize("serror", [False, True])
def test_an_interrupt_comes_after_so_many_events(after, serror):
    session = session_of(PLAIN)
    result = now(session.kvm_run(after, serror=serror, signal=not serror))
    kind = Exit.SERROR if serror else Exit.IRQ
    assert session.vm.switches[0].exit == kind
    rows = session.vm.switches[0].ran.rows
    assert sum(row.el <= EL.EL1 and row.kind == Retire.INSTRUCTION for row in rows) == after
    if not serror:
        assert result == -EINTR
        assert (session.run_page.exit_reason, session.over) == (ExitReason.INTR, False)


@pytest.mark.parametrize("async_first", [False, True])
def test_an_interrupt_after_a_step_comes_before_its_exception_or_not(async_first):
    session = session_of(PLAIN)
    session.debug(STEPPING)
    now(session.step(1, async_first))
    assert [switch.exit for switch in session.vm.switches] == [
        Exit.IRQ if async_first else Exit.SYNC
    ]
    assert len(session.events) == 1


def test_an_interrupt_that_the_host_has_come_before_is_there_in_a_later_world_switch():
    session = session_of(image(WFI, WFI, NOP, NOP, *OFF))
    assert now(session.kvm_run(3, signal=True)) == -EINTR
    assert [switch.exit for switch in session.vm.switches] == [Exit.SYNC, Exit.SYNC, Exit.IRQ]
    assert len(session.events) == 3


def test_an_interrupt_of_one_run_is_none_of_the_next():
    session = session_of(PLAIN)
    session.debug(STEPPING)
    now(session.step(0))
    now(session.step())
    assert [switch.exit for switch in session.vm.switches] == [Exit.SYNC]


def test_an_engine_that_does_not_come_back_says_so():
    engine = KickedEngine()
    session = session_of(image(B_SELF), engine)
    engine._max_rows = 500
    text = f"no exit to the host in 500 rows: at {PC:#x}"
    for after in (None, 10_000):
        with pytest.raises(NoExit) as error:
            now(session.kvm_run(after))
        assert str(error.value) == text


# Virtual interrupts


@pytest.mark.parametrize("control", [0, STEPPING])
@pytest.mark.parametrize("at", [4, 5, 6, 7, 11, 12, 13])  # not in its handler, 8 to 10
def test_a_virtual_interrupt_is_there_for_one_event(control, at):
    session = session_of(busy(virqs=[at]))
    session.debug(control)
    while not session.over:
        now(session.step() if control else session.free_run(200))
    (virq,) = [n for n, event in enumerate(session.events) if event.view.pc == VIRQ]
    assert virq == at
    assert session.events[at].exception
    assert not session.events[at].by_host


@pytest.mark.parametrize("control", [0, STEPPING])
def test_a_virtual_interrupt_that_is_masked_passes(control):
    session = session_of(busy(virqs=[1]))
    session.debug(control)
    while not session.over:
        now(session.step() if control else session.free_run(200))
    assert VIRQ not in [event.view.pc for event in session.events]


# Accesses


def test_devices_answer_something_else_everywhere():
    answers = [device(DEVICE + 8 * n, 8) for n in range(64)]
    assert len(set(answers)) == 64
    assert [len(device(DEVICE, size)) for size in (1, 2, 4, 8)] == [1, 2, 4, 8]
    assert device(DEVICE, 4) == device(DEVICE, 8)[:4]
    assert device(DEVICE, 8) == device(DEVICE, 8)


@pytest.mark.parametrize("advance_first", [True, False])
@pytest.mark.parametrize("control", [0, STEPPING])
def test_a_load_has_what_the_device_answers(control, advance_first):
    session = session_of(image(*mov(1, DEVICE), LDR_X0_X1, NOP, *OFF), of=host(advance_first))
    session.debug(control)
    now(session.free_run(len(mov(1, DEVICE)) + 1))
    assert session.cpu.regs.x[0] == int.from_bytes(device(DEVICE, 8), "little")
    assert session.cpu.access is None


@pytest.mark.parametrize("control", [0, STEPPING])
@pytest.mark.parametrize("nth", [0, 1, 2])
def test_an_access_aborts_by_its_number(control, nth):
    session = session_of(busy(aborts=[nth]))
    session.debug(control)
    aborted = []
    while not session.over and len(aborted) < 2:
        before = len(session.events)
        now(session.step() if control else session.free_run(before + 1))
        (event,) = session.events[before:] or [None]
        if event and event.exception and event.by_host:
            aborted.append((event.pc, session.cpu.regs.far_el1))
            break
    offset = {0: 1, 1: 4, 2: 8}[nth]
    assert aborted == [(START + 4 * offset, DEVICE)]


# Replayed on another engine, and the shadow


def random_session(rng, engine, of):
    """What user space does in a session, as the generator has it: the same for the same seed."""
    virqs = frozenset(rng.sample(range(60), 4))
    session = session_of(Guest(BUSY, virqs, frozenset(rng.sample(range(5), 1))), engine, of)
    results = []

    async def run():
        for _ in range(60):
            if session.over:
                return
            session.debug(rng.choice([0, STEPPING, STEPPING]))
            kick = rng.choice([None, 0, 1, 1, 2])
            choices = {"async_first": rng.random() < 0.5, "serror": rng.random() < 0.3}
            if session.cpu.stepping:
                signal = rng.random() < 0.3
                results.append(await session.kvm_run(kick, signal=signal, **choices))
            else:
                await session.run_on(len(session.events) + rng.randrange(5))
            results.append((session.run_page.exit_reason, session.cpu.regs.elr))

    now(run())
    return session, results


@pytest.mark.parametrize("of", [host, lambda: Host(load("v1"))], ids=["upstream", "seed"])
def test_what_a_run_was_given_gives_the_same_on_another_engine(rng, of):
    for _ in range(10):
        state = rng.getstate()
        engine = KickedEngine()
        session, results = random_session(rng, engine, of())
        rng.setstate(state)
        again, replayed = random_session(rng, ReplayedEngine(ReferenceEngine(), engine.pins), of())
        assert replayed == results
        assert again.events == session.events
        assert again.watch.trace.entries == session.watch.trace.entries


def test_the_pins_are_those_of_the_rows():
    engine = KickedEngine()
    session = session_of(PLAIN, engine)
    assert len(engine.pins) == 1
    now(session.kvm_run(3, async_first=True, signal=True))
    (pins,) = engine.pins[1:]
    rows = session.vm.switches[0].ran.rows
    assert [row.irq for row in rows] == [given.irq for given in pins[:-1]]
    assert pins[len(rows) - 1] == Inputs(irq=1, async_first=1)
    assert pins[-1] == Inputs()


def test_more_runs_than_there_were_are_an_error():
    engine = KickedEngine()
    now(session_of(PLAIN, engine).kvm_run())
    session = session_of(PLAIN, ReplayedEngine(ReferenceEngine(), engine.pins))
    now(session.kvm_run())
    with pytest.raises(ValueError) as error:
        now(session.kvm_run())
    assert str(error.value) == "the other engine had fewer runs"


@pytest.mark.parametrize("virqs", [(), (6, 9, 13), (12,), (15, 17)])
@pytest.mark.parametrize("aborts", [(), (0,), (1, 2)])
@pytest.mark.parametrize("advance_first", [True, False])
def test_a_guest_that_is_stepped_does_what_its_shadow_does(virqs, aborts, advance_first):
    guest = busy(virqs, aborts)
    shadow = now(shadow_of(guest, host(advance_first), 200))
    session = session_of(guest, of=host(advance_first), shadow=shadow)
    session.debug(STEPPING)
    while not session.over:
        now(session.step())
    assert session.watch.broken == []
    assert [event.view.pc for event in session.events] == [event.view.pc for event in shadow]


def test_a_shadow_is_as_long_as_it_is_asked_to_be():
    assert len(now(shadow_of(Guest(PLAIN), host(), 12))) == 12


@pytest.mark.parametrize("name", programs.SELF_STEPPING)
def test_a_guest_that_steps_itself_does_what_its_shadow_does_with_interrupts(rng, name):
    guest = Guest(programs.load(name))
    shadow = now(shadow_of(guest, host(), 300))
    session = session_of(guest, of=host(), shadow=shadow)
    session.debug(STEPPING)
    while len(session.events) < 250:
        kick = rng.choice([None, 0, 1])
        now(session.step(kick, async_first=rng.random() < 0.5, serror=rng.random() < 0.5))
    assert session.watch.broken == []
    assert session.run_page.debug.exit_type == DebugExit.SINGLE_STEP
