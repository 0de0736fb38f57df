"""Software step of the reference PE, instruction by instruction, and its rules held to the oracle.

The scenarios are those of D2.12: each is a program, and its rows are what must come.
"""

from dataclasses import replace

import numpy as np
import pytest

from model import machine
from model.a64 import stepping
from model.a64.state import State
from model.a64.stepping import View
from model.a64.trace import Inputs
from model.arch import EL, Event, Last, Retire, StepState
from model.columns import to_lines
from tb.tests.model.a64.pe import (
    ADD_X0_1,
    BRK,
    CODE,
    DAIFCLR_D,
    DAIFSET_D,
    DATA,
    ERET,
    HVC,
    IMO,
    ISB,
    KDE,
    LDR_X0_X1,
    LDXR_X0_X1,
    NOP,
    NS,
    SMC,
    SPSR_D,
    SPSR_IL,
    SPSR_SS,
    SS,
    SVC,
    TDE,
    TGE,
    TSC,
    UNDEFINED,
    VECTORS,
    WINDOW,
    code,
    completes,
    has,
    mov,
    mrs,
    msr,
    pe_at,
    taken,
)

INACTIVE, ACTIVE, PENDING = (
    StepState.INACTIVE,
    StepState.ACTIVE_NOT_PENDING,
    StepState.ACTIVE_PENDING,
)

GUEST = 0x4014_0000
EL0T, EL1H, EL2H = 0b0000, 0b0101, 0b1001

#: ESR_EL2 of a step exception from a lower EL: nothing stepped, an instruction, a load-exclusive.
LOWER, LOWER_ISV, LOWER_EX = 0xCA00_0022, 0xCB00_0022, 0xCB00_0062
SAME, SAME_ISV = 0xCE00_0022, 0xCF00_0022


def stepped_guest(*words, mode=EL1H, ss=1, **there):
    """A hypervisor at its ERET to a guest whose words it steps; after the ERET, the PE is there."""
    there = {"MDSCR_EL1": SS, "MDCR_EL2": TDE, "daif": 0b1000, **there}
    pe = pe_at(2, ERET, SPSR_EL2=mode | SPSR_SS * ss, ELR_EL2=GUEST, **there)
    pe.write_memory(GUEST, code(*words))
    row = pe.step()
    assert completes(row)
    assert has(row, event=Event.ERET, state=INACTIVE, el_after=mode >> 2 & 3, ss_after=ss)
    assert row.state_after == (ACTIVE if ss else PENDING)
    return pe


def stepped_kernel(*words, spsr=EL1H | SPSR_SS, **there):
    """A kernel that steps itself: its words, which it comes to by an ERET with debug masked."""
    there = {"MDSCR_EL1": SS | KDE, "daif": 0b1000, **there}
    pe = pe_at(1, ERET, SPSR_EL1=spsr, ELR_EL1=GUEST, **there)
    pe.write_memory(GUEST, code(*words))
    assert has(pe.step(), event=Event.ERET, state=INACTIVE, ss_after=1, state_after=ACTIVE)
    return pe


def step_exception(row, target, esr, elr, **fields):
    """A Software Step exception: no instruction, an event that is not used."""
    expected = {"event": Event.EXECUTE, "word": 0, "state": PENDING, "sets_far": 0, **fields}
    return taken(row, target, esr, elr=elr, **expected)


# One instruction, and then the exception


@pytest.mark.parametrize("mode", [EL0T, EL1H])
def test_an_armed_eret_lets_exactly_one_instruction_run(mode):
    pe = stepped_guest(ADD_X0_1, ADD_X0_1, mode=mode)
    row = pe.step()
    assert completes(row)
    assert has(row, eld=2, enabled=1, state=ACTIVE, ss_after=0, state_after=PENDING, x0_value=1)
    row = pe.step()
    assert step_exception(row, 2, LOWER_ISV, GUEST + 4, last=Last.INSTRUCTION, spsr=mode)
    assert has(row, pc_after=VECTORS[EL.EL2] + 0x400, daif_after=0b1111, state_after=INACTIVE)
    assert pe.state.x[0] == 1


def test_without_ss_in_the_spsr_the_exception_comes_at_once():
    pe = stepped_guest(ADD_X0_1, ss=0)
    row = pe.step()
    assert step_exception(row, 2, LOWER, GUEST, last=Last.NOTHING, spsr=EL1H)
    assert pe.state.x[0] == 0


def test_a_program_steps_its_guest_over_three_instructions():
    vector = (
        mrs("ESR_EL2", 2),
        mrs("ELR_EL2", 3),
        *(mrs("SPSR_EL2", 4), 0xB26B_0084, msr("SPSR_EL2", 4)),  # orr x4, x4, #1 << 21
        ERET,
    )
    pe = stepped_guest(ADD_X0_1, ADD_X0_1, ADD_X0_1, ADD_X0_1)
    pe.write_memory(VECTORS[EL.EL2] + 0x400, code(*vector))
    rows = pe.run(max_rows=3 * (2 + len(vector)))
    assert pe.state.x[0] == 3
    assert [row.pc for row in rows if row.word == ADD_X0_1] == [GUEST, GUEST + 4, GUEST + 8]
    assert [row.esr for row in rows if row.kind == Retire.SYNCHRONOUS] == [LOWER_ISV] * 3


def test_without_mdscr_ss_nothing_is_stepped():
    pe = pe_at(2, ERET, SPSR_EL2=EL1H | SPSR_SS, ELR_EL2=GUEST, MDCR_EL2=TDE)
    pe.write_memory(GUEST, code(NOP, NOP))
    assert has(pe.step(), ss_after=0, state_after=INACTIVE)
    assert completes(pe.step())
    assert completes(pe.step())


@pytest.mark.parametrize(
    "off",
    [{"OSLSR_EL1": 0xA}, {"OSDLR_EL1": 1}, {"SCR_EL3": 1 << 18, "MDCR_EL3": 1 << 16}],
    ids=["OS Lock", "OS Double Lock", "Secure, with SDD"],
)
def test_what_disables_debug_exceptions_disarms_the_return(off):
    pe = pe_at(2, ERET, SPSR_EL2=EL1H | SPSR_SS, ELR_EL2=GUEST, MDCR_EL2=TDE, MDSCR_EL1=SS, **off)
    pe.write_memory(GUEST, code(NOP))
    assert has(pe.step(), el_after=1, ss_after=0, state_after=INACTIVE, enabled=0)
    assert completes(pe.step())


# What the syndrome says


def test_a_stepped_load_exclusive_says_so():
    pe = stepped_guest(LDXR_X0_X1, NOP, x={1: DATA})
    assert has(pe.step(), event=Event.LOAD_EXCLUSIVE)
    assert step_exception(pe.step(), 2, LOWER_EX, GUEST + 4, last=Last.LOAD_EXCLUSIVE)


@pytest.mark.parametrize("choice", [0, 1])
def test_after_a_stepped_isb_isv_is_a_choice(choice):
    pe = stepped_guest(ISB, NOP)
    assert has(pe.step(), event=Event.ISB)
    row = pe.step(Inputs(isv_choice=choice))
    esr = LOWER_ISV if choice else LOWER
    assert step_exception(row, 2, esr, GUEST + 4, last=Last.ERET_OR_ISB)


@pytest.mark.parametrize("choice", [0, 1])
def test_after_a_stepped_eret_isv_is_a_choice(choice):
    pe = stepped_guest(ERET, SPSR_EL1=EL0T, ELR_EL1=GUEST + 0x40)
    assert has(pe.step(), event=Event.ERET, state=ACTIVE, ss_after=0, state_after=PENDING)
    row = pe.step(Inputs(isv_choice=choice))
    esr = LOWER_ISV if choice else LOWER
    assert step_exception(row, 2, esr, GUEST + 0x40, last=Last.ERET_OR_ISB, el=0)


@pytest.mark.parametrize("choice", [0, 1])
def test_after_another_exception_isv_is_a_choice(choice):
    pe = stepped_guest(SVC)
    pe.step()
    row = pe.step(Inputs(isv_choice=choice))
    esr = LOWER_ISV if choice else LOWER
    assert step_exception(row, 2, esr, VECTORS[EL.EL1] + 0x200, last=Last.OTHER_EXCEPTION)


def test_a_plain_instruction_leaves_no_choice():
    pe = stepped_guest(NOP, NOP)
    pe.step(Inputs(isv_choice=0))
    assert step_exception(pe.step(Inputs(isv_choice=0)), 2, LOWER_ISV, GUEST + 4)


# Exceptions of the stepped instruction


def test_a_stepped_svc_saves_ss_0_and_lands_in_active_pending():
    pe = stepped_guest(SVC, mode=EL0T)
    row = pe.step()
    assert taken(row, 1, 0x5600_1234, event=Event.SVC, elr=GUEST + 4, spsr=EL0T)
    assert has(row, state=ACTIVE, state_after=PENDING, pc_after=VECTORS[EL.EL1] + 0x400)
    vector = VECTORS[EL.EL1] + 0x400
    assert step_exception(pe.step(), 2, LOWER_ISV, vector, spsr=EL1H | 0b1111 << 6)


@pytest.mark.parametrize(("word", "event"), [(HVC, Event.HVC), (SMC, Event.SMC)])
def test_a_stepped_call_to_a_higher_el_saves_ss_0(word, event):
    row = stepped_guest(word).step()
    assert has(row, event=event, elr=GUEST + 4, spsr=EL1H, state_after=INACTIVE)


@pytest.mark.parametrize(
    ("word", "esr", "controls"),
    [
        (SMC, 0x5E00_1234, {"HCR_EL2": TSC}),
        (BRK, 0xF200_1234, {}),
        (mrs("MDSCR_EL1", 3), 0x6224_0065, {}),
    ],
)
def test_a_stepped_instruction_that_is_trapped_saves_ss_1(word, esr, controls):
    row = stepped_guest(word, **controls).step()
    assert taken(row, 2, esr, elr=GUEST, spsr=EL1H | SPSR_SS, state=ACTIVE, state_after=INACTIVE)


@pytest.mark.parametrize(
    ("word", "esr"), [(UNDEFINED, 0x0200_0000), (LDR_X0_X1, 0x9600_0010), (mrs("HCR_EL2", 0), 1)]
)
def test_an_exception_to_el1_saves_ss_1_and_the_step_comes_before_the_vector(word, esr):
    pe = stepped_guest(word, x={1: WINDOW})
    row = pe.step()
    assert taken(row, 1, esr if esr != 1 else 0x0200_0000, elr=GUEST, spsr=EL1H | SPSR_SS)
    assert row.state_after == PENDING
    vector = VECTORS[EL.EL1] + 0x200
    row = pe.step()
    assert step_exception(row, 2, LOWER_ISV, vector, spsr=EL1H | 0b1111 << 6)


def test_the_step_exception_comes_before_a_fetch_that_fails():
    for target in (GUEST + 2, WINDOW & ~3):
        pe = stepped_guest(0xD61F_0020, x={1: target})  # br x1
        assert has(pe.step(), pc_after=target)
        assert step_exception(pe.step(), 2, LOWER_ISV, target)


def test_the_step_exception_comes_before_illegal_execution_state_and_saves_it():
    pe = stepped_guest(ERET, SPSR_EL1=0b1101, ELR_EL1=GUEST + 0x40)  # to EL3: illegal
    assert has(pe.step(), il_after=1, el_after=1, ss_after=0, state_after=PENDING)
    row = pe.step()
    assert step_exception(row, 2, LOWER_ISV, GUEST + 0x40, spsr=EL1H | SPSR_IL, il_after=0)


# Interrupts


def test_an_interrupt_of_a_stepped_guest_saves_ss_1_and_the_step_is_not_lost():
    pe = stepped_guest(ADD_X0_1, HCR_EL2=IMO)
    row = pe.step(Inputs(irq=1))
    assert has(row, kind=Retire.IRQ, target_el=2, elr=GUEST, spsr=EL1H | SPSR_SS, state=ACTIVE)
    pe.write_memory(VECTORS[EL.EL2] + 0x480, code(ERET))
    assert has(pe.step(), event=Event.ERET, ss_after=1, state_after=ACTIVE)
    assert completes(pe.step())
    assert step_exception(pe.step(), 2, LOWER_ISV, GUEST + 4)


def test_of_a_pending_step_and_an_interrupt_the_choice_says_which_comes_first():
    for async_first in (0, 1):
        pe = stepped_guest(NOP, HCR_EL2=IMO)
        pe.step()
        row = pe.step(Inputs(irq=1, async_first=async_first))
        if async_first:
            assert has(row, kind=Retire.IRQ, event=Event.INTERRUPT, spsr=EL1H, state=PENDING)
        else:
            assert step_exception(row, 2, LOWER_ISV, GUEST + 4)


@pytest.mark.parametrize("word", [NOP, LDXR_X0_X1])
@pytest.mark.parametrize("choice", [0, 1])
def test_an_interrupt_to_el1_that_comes_first_leaves_the_step_at_its_vector(word, choice):
    pe = stepped_guest(word, x={1: DATA})
    pe.step()
    row = pe.step(Inputs(irq=1, async_first=1))
    assert has(row, kind=Retire.IRQ, target_el=1, elr=GUEST + 4, spsr=EL1H, state_after=PENDING)
    ex = LOWER_EX if word == LDXR_X0_X1 else LOWER_ISV
    esr = ex if choice else LOWER
    row = pe.step(Inputs(isv_choice=choice))
    assert step_exception(row, 2, esr, VECTORS[EL.EL1] + 0x280)


def test_a_masked_interrupt_does_not_come_first():
    pe = stepped_guest(NOP, mode=EL1H | 1 << 7)
    pe.step()
    assert step_exception(pe.step(Inputs(irq=1, async_first=1)), 2, LOWER_ISV, GUEST + 4)


# A guest that steps itself


def test_a_kernel_steps_a_user():
    pe = pe_at(1, ERET, SPSR_EL1=EL0T | SPSR_SS, ELR_EL1=GUEST, MDSCR_EL1=SS)
    pe.write_memory(GUEST, code(ADD_X0_1, ADD_X0_1))
    assert has(pe.step(), eld=1, enabled=0, el_after=0, ss_after=1, state_after=ACTIVE)
    assert completes(pe.step())
    row = pe.step()
    assert step_exception(row, 1, LOWER_ISV, GUEST + 4, pc_after=VECTORS[EL.EL1] + 0x400)
    assert row.state_after == INACTIVE


def test_a_kernel_steps_itself():
    pe = stepped_kernel(ADD_X0_1)
    assert has(pe.step(), eld=1, enabled=1, state=ACTIVE, state_after=PENDING)
    row = pe.step()
    assert step_exception(row, 1, SAME_ISV, GUEST + 4, pc_after=VECTORS[EL.EL1] + 0x200)
    assert has(row, spsr=EL1H, state_after=INACTIVE)  # entry masks debug exceptions


def test_a_hypervisor_steps_itself():
    there = {"SPSR_EL2": EL2H | SPSR_SS, "ELR_EL2": GUEST, "MDSCR_EL1": SS | KDE}
    pe = pe_at(2, ERET, daif=0b1000, MDCR_EL2=TDE, **there)
    pe.write_memory(GUEST, code(ADD_X0_1))
    assert has(pe.step(), eld=2, state_after=ACTIVE)
    assert completes(pe.step())
    assert step_exception(pe.step(), 2, SAME_ISV, GUEST + 4)


def test_el3_is_never_stepped():
    pe = pe_at(3, ERET, SPSR_EL3=0b1101 | SPSR_SS, ELR_EL3=GUEST, MDSCR_EL1=SS | KDE)
    pe.write_memory(GUEST, code(NOP))
    assert has(pe.step(), ss_after=0, state_after=INACTIVE)
    assert has(pe.step(), state=INACTIVE, state_after=INACTIVE)


def test_a_stepped_daifset_at_eld_ends_the_stepping():
    pe = stepped_kernel(DAIFSET_D, NOP, NOP)
    assert has(pe.step(), state=ACTIVE, daif_after=0b1000, ss_after=0, state_after=INACTIVE)
    assert completes(pe.step())
    assert completes(pe.step())


def test_a_daifclr_at_eld_enters_active_pending_with_nothing_stepped():
    pe = pe_at(1, DAIFCLR_D, NOP, daif=0b1000, MDSCR_EL1=SS | KDE)
    assert has(pe.step(), state=INACTIVE, daif_after=0, state_after=PENDING)
    assert step_exception(pe.step(), 1, SAME, CODE + 4, last=Last.NOTHING)


def test_daif_below_eld_makes_no_difference():
    pe = stepped_guest(DAIFSET_D, NOP)
    assert has(pe.step(), daif_after=0b1000, state_after=PENDING)
    assert step_exception(pe.step(), 2, LOWER_ISV, GUEST + 4, spsr=EL1H | SPSR_D)


def test_a_stepped_write_that_turns_step_off_is_followed_by_no_exception():
    pe = stepped_kernel(msr("MDSCR_EL1", 0), NOP, x={0: KDE})
    assert has(pe.step(), ss_after=0, state_after=INACTIVE)
    assert completes(pe.step())


def test_a_return_where_debug_is_enabled_loads_no_ss():
    pe = pe_at(1, ERET, SPSR_EL1=EL1H | SPSR_SS, ELR_EL1=GUEST, MDSCR_EL1=KDE)
    pe.write_memory(GUEST, code(NOP))
    pe.state.sysregs["MDSCR_EL1"] |= SS
    pe.state.ss = 1  # the ERET itself is stepped
    assert has(pe.step(), state=ACTIVE, ss_after=0, state_after=PENDING)
    assert step_exception(pe.step(), 1, SAME_ISV, GUEST, last=Last.ERET_OR_ISB)


def test_an_illegal_return_can_arm_the_step_of_the_illegal_state_exception():
    there = {"MDSCR_EL1": SS | KDE, "MDCR_EL2": TDE, "ELR_EL2": GUEST}
    pe = pe_at(2, ERET, daif=0b1000, SPSR_EL2=0b1101 | SPSR_SS, **there)
    pe.write_memory(GUEST, code(NOP))
    assert has(pe.step(), el_after=2, il_after=1, ss_after=1, state_after=ACTIVE, daif_after=0)
    row = pe.step()
    assert taken(row, 2, 0x3A00_0000, event=Event.EXECUTE, elr=GUEST, word=NOP, state=ACTIVE)
    assert row.spsr == EL2H | SPSR_IL | SPSR_SS


def test_a_return_to_aarch32_can_arm_the_step_of_the_illegal_state_exception():
    there = {"MDSCR_EL1": SS | KDE, "MDCR_EL2": TDE, "ELR_EL2": GUEST}
    pe = pe_at(2, ERET, daif=0b1000, SPSR_EL2=0b1_0000 | SPSR_SS, **there)
    assert has(pe.step(), el_after=2, il_after=1, ss_after=1, state_after=ACTIVE)


# Writes that are seen late

LATE = Inputs(write_seen=0)


def test_a_late_mdscr_write_changes_nothing_before_an_isb():
    pe = pe_at(1, msr("MDSCR_EL1", 0), NOP, ISB, NOP, x={0: SS | KDE})
    assert has(pe.step(LATE), state_after=INACTIVE, sys_value=SS | KDE)
    assert has(pe.step(LATE), state=INACTIVE, state_after=INACTIVE)
    assert has(pe.step(LATE), event=Event.ISB, state=INACTIVE, state_after=PENDING)
    assert step_exception(pe.step(LATE), 1, SAME, CODE + 12, last=Last.NOTHING)


def test_a_write_that_is_seen_changes_the_state_at_once():
    pe = pe_at(1, msr("MDSCR_EL1", 0), NOP, x={0: SS | KDE})
    assert has(pe.step(), state_after=PENDING)
    assert step_exception(pe.step(), 1, SAME, CODE + 4)


def test_a_later_row_that_sees_writes_at_once_does_not_see_an_earlier_one():
    pe = pe_at(1, msr("MDSCR_EL1", 0), NOP, NOP, x={0: SS | KDE})
    pe.step(LATE)
    assert has(pe.step(), state_after=INACTIVE)
    assert has(pe.step(), state=INACTIVE, state_after=INACTIVE)


@pytest.mark.parametrize(
    ("name", "value", "there"),
    [
        ("MDSCR_EL1", SS, {"MDCR_EL2": TDE}),
        ("MDCR_EL2", TDE, {"MDSCR_EL1": SS}),
        ("OSLAR_EL1", 0, {"MDSCR_EL1": SS, "MDCR_EL2": TDE, "OSLSR_EL1": 0xA}),
    ],
)
def test_an_eret_sees_a_late_write_before_it_is_judged(name, value, there):
    spsr = {"SPSR_EL2": EL1H | SPSR_SS, "ELR_EL2": GUEST}
    pe = pe_at(2, msr(name, 0), ERET, daif=0b1000, x={0: value}, **spsr, **there)
    pe.write_memory(GUEST, code(NOP))
    assert has(pe.step(LATE), state_after=INACTIVE)
    assert has(pe.step(LATE), state=INACTIVE, ss_after=1, state_after=ACTIVE)
    assert completes(pe.step(LATE))
    assert step_exception(pe.step(LATE), 2, LOWER_ISV, GUEST + 4)


@pytest.mark.parametrize(("before", "written", "illegal"), [(0, TGE, 1), (TGE, 0, 0)])
def test_an_eret_is_legal_by_the_tge_that_was_written(before, written, illegal):
    there = {"SPSR_EL2": EL1H, "ELR_EL2": GUEST, "HCR_EL2": before}
    pe = pe_at(2, msr("HCR_EL2", 0), ERET, x={0: written}, **there)
    pe.step(LATE)
    assert has(pe.step(LATE), il_after=illegal, el_after=2 if illegal else 1)


def test_an_exception_sees_a_late_write_once_its_target_is_chosen():
    # EL1 unlocks the OS Lock: seen late, by entry to EL1, whose first instruction is stepped.
    pe = pe_at(1, msr("OSLAR_EL1", 31), SVC, MDSCR_EL1=SS | KDE, OSLSR_EL1=0xA)
    pe.write_memory(VECTORS[EL.EL1] + 0x200, code(DAIFCLR_D, NOP))
    assert has(pe.step(LATE), enabled=0, state_after=INACTIVE)
    assert has(pe.step(LATE), enabled=0, state=INACTIVE, target_el=1)
    assert has(pe.step(LATE), enabled=0, daif_after=0b0111, state_after=PENDING)
    assert step_exception(pe.step(LATE), 1, SAME, VECTORS[EL.EL1] + 0x204)


def test_a_step_exception_goes_to_the_eld_that_the_pe_sees():
    # EL2 takes TDE away and returns: the return sees it. Without the return nothing does.
    pe = pe_at(2, msr("MDCR_EL2", 31), NOP, MDCR_EL2=TDE, MDSCR_EL1=SS | KDE, daif=0b1000)
    pe.step(LATE)
    assert has(pe.step(LATE), eld=2)
    assert pe.state.sysregs["MDCR_EL2"] == 0


def test_a_trap_is_decided_by_what_the_pe_sees():
    pe = pe_at(2, msr("MDCR_EL2", 0), ERET, x={0: TDE}, SPSR_EL2=EL1H, ELR_EL2=GUEST)
    pe.write_memory(GUEST, code(mrs("MDSCR_EL1", 3)))
    pe.step(LATE)
    pe.step(LATE)
    assert taken(pe.step(LATE), 2, 0x6224_0065, elr=GUEST)


def test_what_is_no_debug_or_hypervisor_control_is_seen_at_once():
    pe = pe_at(3, msr("SCR_EL3", 0), NOP, x={0: NS | 1 << 1}, daif=0)
    pe.step(LATE)
    assert has(pe.step(Inputs(irq=1, write_seen=0)), kind=Retire.IRQ, target_el=3)


def test_the_os_double_lock_is_seen_at_once():
    pe = pe_at(1, msr("OSDLR_EL1", 0), x={0: 1}, MDSCR_EL1=SS | KDE)
    pe.state.ss = 1
    assert has(pe.step(LATE), enabled=1, state=ACTIVE, state_after=INACTIVE)


# A program from reset on


def test_a_hypervisor_boots_and_steps_a_user_program():
    hypervisor = 0x4001_0000
    boot = (
        *mov(0, NS | 1 << 8),
        msr("SCR_EL3", 0),
        *mov(0, EL2H | 0b1111 << 6),
        msr("SPSR_EL3", 0),
        *mov(0, hypervisor),
        msr("ELR_EL3", 0),
        ERET,
    )
    enter = (
        msr("OSLAR_EL1", 31),
        *mov(0, VECTORS[EL.EL2]),
        msr("VBAR_EL2", 0),
        *mov(0, TDE),
        msr("MDCR_EL2", 0),
        *mov(0, SS),
        msr("MDSCR_EL1", 0),
        *mov(0, GUEST),
        msr("ELR_EL2", 0),
        *mov(0, EL0T | SPSR_SS),
        msr("SPSR_EL2", 0),
        ERET,
    )
    pe = pe_at(3, *boot, pc=0x4000_0000, daif=0b1111, SCR_EL3=0, OSLSR_EL1=0xA)
    pe.write_memory(hypervisor, code(*enter))
    pe.write_memory(GUEST, code(*mov(5, 3), NOP))
    for given in (Inputs(), LATE):
        pe.state.select_sp(EL.EL3, 1)
        pe.state.pc = 0x4000_0000
        rows = pe.run([given] * (len(boot) + len(enter) + 2))
        assert [row.kind for row in rows[:-1]] == [Retire.INSTRUCTION] * (len(rows) - 1)
        assert has(rows[-2], pc=GUEST, el=0, state=ACTIVE, x0_reg=5, x0_value=3)
        assert step_exception(rows[-1], 2, LOWER_ISV, GUEST + 4, el=0, spsr=EL0T)


# The kept answers, held to the oracle with whole registers


def registers(rng):
    """Registers of every bit, with those that decide often set as they must be to matter."""
    state = State()
    for name in state.sysregs:
        state.sysregs[name] = rng.getrandbits(64)
    if rng.random() < 0.5:
        state.sysregs["OSLSR_EL1"] &= ~2
        state.sysregs["OSDLR_EL1"] &= ~1
        state.sysregs["MDSCR_EL1"] |= 1
    return state


def columns(state, el, d, ss, il):
    """The same PE as a line of the vector file."""
    names = ("mdcr_el2", "hcr_el2", "scr_el3", "mdcr_el3", "sder32_el3", "oslsr_el1", "mdscr_el1")
    regs = {name: np.uint64(state.sysregs[name.upper()]) for name in names}
    have = dict.fromkeys(("have_el2", "have_el3", "have_sel2"), 1)
    lock = state.sysregs["OSDLR_EL1"] & 1
    return {**regs, **have, "double_lock": lock, "el": el, "d": d, "ss": ss, "il": il}


def test_eld_enables_and_state_are_those_of_the_rules(rng):
    for _ in range(1500):
        state = registers(rng)
        el, d, ss = rng.randrange(4), rng.getrandbits(1), rng.getrandbits(1)
        pe = to_lines(columns(state, el, d, ss, 0)).pe
        said = machine.derive(pe.controls(), pe.el, pe.d, pe.ss)
        assert stepping.before(View.of(state), el, d, ss) == tuple(int(value) for value in said)


EVENTS = [event for event in Event if event is not Event.DEBUG_EXIT]


def test_the_outcome_is_that_of_the_rules(rng):
    for _ in range(1500):
        state, later = registers(rng), registers(rng)
        if rng.random() < 0.5:
            later.sysregs = state.sysregs.copy()
        el, d, ss, il, last = (rng.randrange(n) for n in (4, 2, 2, 2, 6))
        event, target = rng.choice(EVENTS), rng.randrange(max(el, 1), 4)
        spsr = rng.getrandbits(64) & ~0x10
        d_after, async_first, isv_choice = (rng.getrandbits(1) for _ in range(3))
        line = to_lines(
            {
                **columns(state, el, d, ss, il),
                "last": last,
                "event": event,
                "target_el": target,
                "spsr": np.uint64(spsr),
                "d_write": d_after,
                "async_first": async_first,
                "isv_choice": isv_choice,
                "mdscr_write": np.uint64(later.sysregs["MDSCR_EL1"]),
            }
        )
        # What synchronises the context sees what was written before it.
        written = to_lines({"mdscr_el1": np.uint64(later.sysregs["MDSCR_EL1"])}).pe
        pe = replace(line.pe, mdscr_el1_written=written.mdscr_el1)
        after = to_lines(columns(later, el, d, ss, il)).pe.controls()
        said = machine.take(pe, line.given, after)
        found = stepping.outcome(
            View.of(state),
            View.of(later),
            *(el, d, ss, il, last, event, target, stepping.spsr_bits(spsr)),
            *(d_after, async_first, isv_choice),
        )
        expected = {
            "step_exception": said.step_exception,
            "illegal_state": said.illegal_state,
            "el": said.el_after,
            "d": said.d_after,
            "ss": said.ss_after,
            "il": said.il_after,
            "state": said.state_after,
            "last": said.last_after,
            "esr": said.esr,
            "spsr_ss": said.spsr_ss,
        }
        assert {name: getattr(found, name) for name in expected} == {
            name: int(value) for name, value in expected.items()
        }
