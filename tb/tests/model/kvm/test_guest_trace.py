"""Events of a guest, out of rows made by hand; and out of a VM's, one KVM_RUN after the other."""

import pytest

from model.a64.trace import Row
from model.arch import EL, SYSREGS, Event, Retire
from model.kvm.guest_trace import GuestEvent, GuestTrace, View, view_of
from model.kvm.uapi import ExitReason
from model.kvm.vcpu import Vcpu
from tb.tests.model.a64.pe import (
    ADD_X0_1,
    BRK,
    HVC,
    LDR_X0_X1,
    LDXR_X0_X1,
    NOP,
    SMC,
    STR_X0_X1,
    SVC,
    WFI,
)
from tb.tests.model.kvm.guests import (
    DEVICE,
    EL1H,
    MASKED,
    STEPPING,
    VECTORS,
    User,
    image,
    upstream,
)

PC = 0x4010_0000
VECTOR = VECTORS + 0x200
STEP_LOWER, STEP_SAME = 0x32 << 26, 0x33 << 26
EMPTY = Row._make([0] * len(Row._fields))


def row(**fields) -> Row:
    """A row with these fields; the rest is 0."""
    return EMPTY._replace(**{name: int(value) for name, value in fields.items()})


def guest(pc_after, el=EL.EL1, **fields):
    """A completed instruction of the guest."""
    return row(**{"el": el, "pc_after": pc_after, "el_after": el, "sp_after": 1, **fields})


def taken(pc_after, target=EL.EL1, **fields):
    """A synchronous exception of the guest."""
    there = {"kind": Retire.SYNCHRONOUS, "event": Event.EXCEPTION, "target_el": target}
    return guest(pc_after, **{**there, "el_after": target, "daif_after": 0xF, **fields})


def written(name, value):
    """EL2 writes a system register."""
    return row(el=EL.EL2, sys_en=1, sys_reg=SYSREGS[name].number, sys_value=value)


def entry(pc_after, **fields):
    """The ERET of EL2."""
    there = {"el": EL.EL2, "event": Event.ERET, "el_after": EL.EL1, "sp_after": 1}
    return row(pc_after=pc_after, **{**there, **fields})


def trace_of(*rows, cycles=()) -> GuestTrace:
    trace = GuestTrace(PC)
    trace.feed(rows, list(cycles))
    return trace


def only(trace) -> GuestEvent:
    (event,) = trace.events
    return event


# What is an event


def test_an_instruction_of_the_guest_is_an_event():
    event = only(trace_of(guest(PC + 4, daif_after=0xF)))
    view = View(PC + 4, EL1H | MASKED, 0, 0, 0)
    assert event == GuestEvent(PC, False, 0, False, view, 1, False)


def test_an_exception_to_el1_is_an_event():
    event = only(trace_of(taken(VECTOR, esr=0x0200_0000, elr=PC, spsr=EL1H)))
    assert (event.pc, event.exception, event.own_step, event.by_host) == (PC, True, False, False)
    assert event.view == View(VECTOR, EL1H | MASKED, 0, EL1H, PC)


@pytest.mark.parametrize("kind", [Retire.VIRQ, Retire.VFIQ])
def test_a_virtual_interrupt_is_an_event(kind):
    assert only(trace_of(taken(VECTOR, kind=kind, event=Event.INTERRUPT))).exception


@pytest.mark.parametrize("esr", [STEP_LOWER | 0x22, STEP_SAME | 0x22])
def test_the_guests_own_step_exception_is_told_from_others(esr):
    assert only(trace_of(taken(VECTOR, esr=esr))).own_step


@pytest.mark.parametrize("kind", [Retire.SYNCHRONOUS, Retire.IRQ, Retire.FIQ, Retire.SERROR])
def test_an_exception_to_el2_is_none(kind):
    assert trace_of(taken(0, EL.EL2, kind=kind)).events == []


def test_a_step_exception_of_the_host_is_none():
    assert trace_of(taken(0, EL.EL2, esr=STEP_LOWER)).events == []


def test_a_hypercall_is_one_at_the_next_instruction():
    call = taken(0, EL.EL2, event=Event.HVC, elr=PC + 4, spsr=EL1H | MASKED)
    event = only(trace_of(call))
    assert (event.pc, event.exception, event.by_host) == (PC, False, False)
    assert (event.view.pc, event.view.pstate) == (PC + 4, EL1H | MASKED)


def test_what_el2_and_el3_do_is_none():
    assert trace_of(row(el=EL.EL2, pc_after=8), row(el=EL.EL3, pc_after=8)).events == []


@pytest.mark.parametrize(
    ("word", "exclusive"),
    [
        (LDXR_X0_X1, True),
        (0xC802_7C20, True),  # stxr w2, x0, [x1]
        (0xC87F_8820, True),  # ldaxp x0, x2, [x1]
        (0x085F_FC20, True),  # ldaxrb w0, [x1]
        (0xC8DF_FC20, False),  # ldar x0, [x1]
        (0xC89F_FC20, False),  # stlr x0, [x1]
        (LDR_X0_X1, False),
        (ADD_X0_1, False),
    ],
)
def test_exclusives_are_told_from_other_accesses(word, exclusive):
    assert only(trace_of(guest(PC + 4, word=word))).exclusive == exclusive


# What it says


def test_pstate_is_as_an_spsr_has_it():
    there = {"el_after": EL.EL0, "sp_after": 0, "daif_after": 0b0101, "nzcv_after": 0b1001}
    event = only(trace_of(guest(PC + 4, ss_after=1, il_after=1, **there)))
    assert event.view.pstate == 0b1001 << 28 | 1 << 21 | 1 << 20 | 0b0101 << 6


def test_registers_are_as_the_guest_and_el2_have_written_them():
    trace = GuestTrace(PC)
    trace.feed([written("SPSR_EL1", 5), written("ELR_EL1", 6), written("MDSCR_EL1", 7)], [])
    number = SYSREGS["MDSCR_EL1"].number
    trace.feed([guest(PC + 4), guest(PC + 8, sys_en=1, sys_reg=number, sys_value=8)], [])
    first, second = (event.view for event in trace.events)
    assert (first.mdscr_el1, first.spsr_el1, first.elr_el1) == (7, 5, 6)
    assert (second.mdscr_el1, second.spsr_el1, second.elr_el1) == (8, 5, 6)


def test_another_register_is_not_kept():
    trace = trace_of(written("TPIDR_EL2", 5), entry(PC))
    assert trace.entries[0].registers == {}


def test_the_view_of_saved_registers():
    vcpu = Vcpu(elr=1, spsr=2, mdscr_el1=3, spsr_el1=4, elr_el1=5)
    assert view_of(vcpu) == View(1, 2, 3, 4, 5)


def test_without_a_clock_an_event_is_at_the_number_of_its_row():
    trace = trace_of(row(el=EL.EL2), guest(PC + 4), guest(PC + 8))
    trace.feed([guest(PC + 12)], [])
    assert [event.cycle for event in trace.events] == [2, 3, 4]


def test_with_a_clock_an_event_is_at_its_cycle():
    trace = trace_of(row(el=EL.EL2), guest(PC + 4), guest(PC + 8), cycles=[11, 15, 26])
    assert [event.cycle for event in trace.events] == [15, 26]


# What the host does between two world switches


def test_what_the_host_emulates_shows_in_where_the_guest_is_entered():
    trace = trace_of(taken(0, EL.EL2), written("MDSCR_EL1", 3), entry(PC + 4))
    event = only(trace)
    assert (event.pc, event.exception, event.by_host) == (PC, False, True)
    assert (event.view.pc, event.view.mdscr_el1) == (PC + 4, 3)


def test_what_the_host_injects_shows_too():
    elr = written("ELR_EL1", PC)
    event = only(trace_of(taken(0, EL.EL2), elr, written("ESR_EL1", 0xF200_0000), entry(VECTOR)))
    assert (event.exception, event.own_step, event.by_host) == (True, False, True)


def test_a_step_exception_that_the_host_injects_is_the_guests_own():
    elr = written("ELR_EL1", PC)
    event = only(trace_of(taken(0, EL.EL2), elr, written("ESR_EL1", STEP_LOWER), entry(VECTOR)))
    assert (event.exception, event.own_step, event.by_host) == (True, True, True)


def test_a_guest_that_goes_on_where_it_was_has_had_nothing_done():
    assert trace_of(taken(0, EL.EL2, kind=Retire.IRQ), entry(PC)).events == []


def test_an_entry_has_the_events_before_it_and_what_el2_has_written():
    trace = trace_of(
        *(written("MDSCR_EL1", 1), written("MDCR_EL2", 2), written("SPSR_EL2", 3)),
        *(entry(PC), guest(PC + 4), guest(PC + 8), written("SPSR_EL2", 4), entry(PC + 8)),
    )
    first, second = trace.entries
    assert first == (0, {"MDSCR_EL1": 1, "MDCR_EL2": 2, "SPSR_EL2": 3})
    assert second == (2, {"MDSCR_EL1": 1, "MDCR_EL2": 2, "SPSR_EL2": 4})


def test_what_the_host_has_done_at_the_end_of_a_run_is_settled():
    trace = trace_of(taken(0, EL.EL2))
    trace.settle(Vcpu(elr=PC + 4, spsr=EL1H), open_access=False)
    event = only(trace)
    assert (event.by_host, event.view) == (True, View(PC + 4, EL1H, 0, 0, 0))
    trace.settle(Vcpu(elr=PC + 4, spsr=EL1H), open_access=False)
    assert len(trace.events) == 1


def test_an_access_that_is_still_to_be_made_is_no_event_wherever_the_pc_is():
    trace = trace_of(taken(0, EL.EL2))
    trace.settle(Vcpu(elr=PC + 4), open_access=True)
    assert trace.events == []
    trace.settle(Vcpu(elr=PC + 4), open_access=False)
    assert only(trace).view.pc == PC + 4


# The runs of a VM


def traced(*words, x=None, runs=1, advance_first=True, **more):
    """The events of so many KVM_RUNs of a guest that is stepped."""
    user = User(upstream(advance_first), image(*words, **more))
    user.debug(STEPPING)
    for number, value in (x or {}).items():
        user.vm.set_one_reg(user.cpu, f"x{number}", value)
    trace = GuestTrace(PC)
    for _ in range(runs):
        assert user.run() == 0
        for switch in user.vm.switches:
            trace.feed(switch.ran.rows, switch.ran.cycles)
        trace.settle(user.cpu.regs, user.cpu.access is not None)
    return trace.events, user


@pytest.mark.parametrize(
    ("word", "pc", "exception", "by_host"),
    [
        (ADD_X0_1, PC + 4, False, False),
        (SVC, VECTOR, True, False),
        (HVC, PC + 4, False, False),
        (WFI, PC + 4, False, True),
        (SMC, VECTOR, True, True),
        (BRK, VECTOR, True, True),
    ],
)
def test_one_step_is_one_event(word, pc, exception, by_host):
    (event,), user = traced(word)
    assert (event.pc, event.exception, event.by_host) == (PC, exception, by_host)
    assert event.view.pc == pc
    assert event.view == view_of(user.cpu.regs) or not by_host


@pytest.mark.parametrize("advance_first", [True, False])
@pytest.mark.parametrize("word", [LDR_X0_X1, STR_X0_X1])
def test_an_access_of_user_space_is_an_event_once_it_is_made(word, advance_first):
    there = {"x": {1: DEVICE}, "advance_first": advance_first}
    events, user = traced(word, NOP, **there)
    assert (events, user.page.exit_reason) == ([], ExitReason.MMIO)
    events, _ = traced(word, NOP, runs=2, **there)
    assert [(event.pc, event.view.pc, event.by_host) for event in events] == [(PC, PC + 4, True)]
    events, _ = traced(word, NOP, runs=3, **there)
    assert [event.pc for event in events] == [PC, PC + 4]


def test_an_exception_that_the_host_injects_at_its_own_vector_is_an_event_each_time():
    events, _ = traced(SMC, runs=3, at_200=(SMC,))
    assert [(event.exception, event.view.pc) for event in events] == [(True, VECTOR)] * 3


def test_an_exception_that_the_host_injects_just_before_its_vector_is_one():
    user = User(upstream(), image(NOP, at_1fc=(SMC,)))
    user.vm.set_one_reg(user.cpu, "pc", VECTOR - 4)
    user.debug(STEPPING)
    assert user.run() == 0
    trace = GuestTrace(VECTOR - 4)
    trace.feed(user.vm.switches[0].ran.rows, [])
    trace.settle(user.cpu.regs, open_access=False)
    assert only(trace).exception
