"""The host that keeps all properties: a KVM_RUN is an event, and the guest sees nothing of it."""

import struct

import pytest

from model.a64.processor import Processor
from model.arch import EL, SYSREGS, Event, Retire
from model.kvm.host import Exit
from model.kvm.session import KickedEngine
from model.kvm.uapi import DebugExit, ExitReason
from model.programs import load as programs
from tb.core.program import mov
from tb.tests.model.a64.pe import (
    ADD_X0_1,
    B_SELF,
    BRK,
    ERET,
    HVC,
    ISB,
    KDE,
    LDR_X0_X1,
    LDXR_X0_X1,
    NOP,
    SMC,
    STR_X0_X1,
    SVC,
    TDE,
    UNDEFINED,
    WFI,
    mrs,
    msr,
)
from tb.tests.model.kvm.guests import (
    DATA,
    DEVICE,
    EL0T,
    EL1H,
    EL1T,
    LOWER_EL,
    MASKED,
    SAME_EL,
    SS,
    STEPPING,
    VECTORS,
    User,
    image,
    upstream,
)

PC = 0x4010_0000
TDOSA = 1 << 10
MDSCR_SS = 1 << 0
ENABLE_SW_BP = 0x1_0001
ONES = (1 << 64) - 1
NZCV = 0b1010 << 28
VECTOR = VECTORS + SAME_EL
UNKNOWN_ESR = 0x0200_0000

ADVANCES = pytest.mark.parametrize("advance_first", [True, False], ids=["before", "after"])


def stepped_user(*words, advance_first=True, x=None, engine=None, **registers):
    """User space that steps a guest at some words."""
    more = {name: registers.pop(name) for name in list(registers) if name.startswith("at_")}
    os_lock = registers.pop("os_lock", 0)
    engine = engine or KickedEngine()
    user = User(upstream(advance_first), image(*words, **more), engine, registers)
    user.cpu.regs.os_lock = os_lock
    for number, value in (x or {}).items():
        user.vm.set_one_reg(user.cpu, f"x{number}", value)
    user.debug(STEPPING)
    return user


def guest_events(user):
    """What the guest does in the world switches of the last KVM_RUN."""
    rows = [row for switch in user.vm.switches for row in switch.ran.rows if row.el <= EL.EL1]
    return [
        row
        for row in rows
        if row.kind == Retire.INSTRUCTION or row.target_el == EL.EL1 or row.event == Event.HVC
    ]


def step(user, pc, events=1):
    """One KVM_RUN: KVM_EXIT_DEBUG at an address, after so many events on the PE."""
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.DEBUG
    assert user.page.debug.exit_type == DebugExit.SINGLE_STEP
    assert user.page.debug.address == user.get("pc"), "P6"
    assert hex(user.get("pc")) == hex(pc)
    assert len(guest_events(user)) == events
    assert user.cpu.log == []
    return True


# One instruction of each kind

#: Words, what they find in registers, where the guest is then, and how many events the PE shows.
COMPLETES = {
    "plain": ((ADD_X0_1,), {}, PC + 4, 1),
    "branch to itself": ((B_SELF,), {}, PC, 1),
    "load": ((LDR_X0_X1,), {1: DATA}, PC + 4, 1),
    "load-exclusive": ((LDXR_X0_X1,), {1: DATA}, PC + 4, 1),
    "isb": ((ISB,), {}, PC + 4, 1),
    "msr that traps": ((msr("MDSCR_EL1", 1),), {1: KDE}, PC + 4, 0),
    "mrs that traps": ((mrs("MDSCR_EL1", 1),), {}, PC + 4, 0),
    "wfi": ((WFI,), {}, PC + 4, 0),
    "hvc": ((HVC,), {}, PC + 4, 1),
}
TAKES = {
    "svc": ((SVC,), {}, 0x5600_1234, PC + 4, 1),
    "undefined": ((UNDEFINED,), {}, UNKNOWN_ESR, PC, 1),
    "brk": ((BRK,), {}, 0xF200_1234, PC, 0),
    "smc": ((SMC,), {}, UNKNOWN_ESR, PC, 0),
    "misaligned load-exclusive": ((LDXR_X0_X1,), {1: DATA + 1}, 0x9600_0021, PC, 1),
}


@pytest.mark.parametrize("kind", COMPLETES)
@pytest.mark.parametrize("pstate", [EL1H | MASKED | NZCV, EL1T, EL1H | 1 << 7])
def test_an_instruction_that_completes_is_one_step(kind, pstate):
    words, x, pc, events = COMPLETES[kind]
    user = stepped_user(*words, x=x, pstate=pstate, spsr_el1=SS | EL0T, elr_el1=0x1234)
    assert step(user, pc, events)
    assert (user.get("pstate"), user.get("spsr_el1"), user.get("elr_el1")) == (
        pstate,
        SS | EL0T,
        0x1234,
    )
    assert user.get("mdscr_el1") == (KDE if kind == "msr that traps" else 0)


@pytest.mark.parametrize("kind", TAKES)
@pytest.mark.parametrize("pstate", [EL1H | MASKED | NZCV, EL1T, EL1H | 1 << 7])
def test_an_exception_that_is_taken_instead_is_one_step(kind, pstate):
    words, x, esr, elr, events = TAKES[kind]
    user = stepped_user(*words, x=x, pstate=pstate)
    assert step(user, VECTORS + SAME_EL * (pstate & 1), events)
    assert (user.get("esr_el1"), user.get("elr_el1")) == (esr, elr)
    assert (user.get("spsr_el1"), user.get("pstate")) == (pstate, EL1H | MASKED | pstate & NZCV)
    assert user.get("mdscr_el1") == 0


@pytest.mark.parametrize("kind", [name for name in TAKES if name != "smc"])
def test_an_exception_of_el0_is_one_step(kind):
    words, x, esr, elr, events = TAKES[kind]
    user = stepped_user(*words, x=x, pstate=EL0T | NZCV)
    assert step(user, VECTORS + LOWER_EL, events)
    esr_of_el0 = esr & ~(1 << 26) if esr >> 26 == 0x25 else esr
    assert (user.get("esr_el1"), user.get("elr_el1")) == (esr_of_el0, elr)
    assert (user.get("spsr_el1"), user.get("pstate")) == (EL0T | NZCV, EL1H | MASKED | NZCV)


def test_a_fetch_without_memory_is_one_step():
    user = stepped_user(NOP, pc=DEVICE)
    assert step(user, VECTOR, events=0)
    assert (user.get("esr_el1"), user.get("elr_el1")) == (0x8600_0010, DEVICE)
    assert (user.get("far_el1"), user.get("spsr_el1")) == (DEVICE, EL1H | MASKED)


def test_an_eret_to_el0_and_the_call_back_are_a_step_each():
    user = stepped_user(
        ERET, SVC, at_400=(ERET,), spsr_el1=EL0T | NZCV, elr_el1=PC + 4, pstate=EL1H | MASKED
    )
    assert step(user, PC + 4)
    assert user.get("pstate") == EL0T | NZCV
    assert step(user, VECTORS + LOWER_EL)
    assert (user.get("spsr_el1"), user.get("elr_el1")) == (EL0T | NZCV, PC + 8)
    assert step(user, PC + 8)
    assert user.get("pstate") == EL0T | NZCV


def test_an_illegal_return_and_the_exception_for_it_are_a_step_each():
    user = stepped_user(ERET, elr_el1=PC + 8, spsr_el1=0b1001)
    assert step(user, PC + 8)
    assert user.get("pstate") == EL1H | 1 << 20
    assert step(user, VECTOR)
    assert (user.get("esr_el1"), user.get("spsr_el1")) == (0x3A00_0000, EL1H | 1 << 20)


def test_steps_follow_one_another():
    user = stepped_user(*[ADD_X0_1] * 20)
    for n in range(1, 21):
        assert step(user, PC + 4 * n)
        assert user.get("x0") == n


@ADVANCES
@pytest.mark.parametrize("word", [LDR_X0_X1, STR_X0_X1])
@pytest.mark.parametrize("immediate_exit", [False, True])
def test_an_access_of_user_space_is_one_step_when_it_is_complete(
    word, advance_first, immediate_exit
):
    user = stepped_user(word, ADD_X0_1, advance_first=advance_first, x={0: 5, 1: DEVICE})
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.MMIO
    assert user.get("pc") == (PC + 4 if advance_first else PC)
    assert guest_events(user) == []
    if word == LDR_X0_X1:
        user.page.mmio.data = struct.pack("<Q", 9)
    else:
        assert user.page.mmio.data == struct.pack("<Q", 5)
    user.page.immediate_exit = immediate_exit
    assert step(user, PC + 4, events=0)
    assert user.vm.switches == []
    x0 = 9 if word == LDR_X0_X1 else 5
    assert (user.get("x0"), user.get("pstate")) == (x0, EL1H | MASKED)
    user.page.immediate_exit = False
    assert step(user, PC + 8)
    assert user.get("x0") == x0 + 1


@ADVANCES
@pytest.mark.parametrize("word", [LDR_X0_X1, STR_X0_X1])
def test_an_access_that_aborts_is_one_step(word, advance_first):
    user = stepped_user(word, advance_first=advance_first, x={0: 5, 1: DEVICE + 8})
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.MMIO
    assert user.vm.inject_external_abort(user.cpu) == 0
    assert step(user, VECTOR, events=0)
    assert (user.get("elr_el1"), user.get("far_el1")) == (PC, DEVICE + 8)
    assert (user.get("spsr_el1"), user.get("x0")) == (EL1H | MASKED, 5)


@ADVANCES
@pytest.mark.parametrize("control", [0, STEPPING])
def test_debugging_that_is_switched_while_user_space_makes_an_access(advance_first, control):
    user = stepped_user(LDR_X0_X1, NOP, SMC, advance_first=advance_first, x={1: DEVICE})
    user.debug(STEPPING - control)
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.MMIO
    user.debug(control)
    if control:
        assert step(user, PC + 4, events=0)
    else:
        user.page.immediate_exit = True
        assert user.run() < 0
        assert (user.page.exit_reason, user.get("pc")) == (ExitReason.INTR, PC + 4)


def test_a_guest_that_switches_itself_off_has_done_so():
    user = stepped_user(HVC, x={0: 0x8400_0008})
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.SYSTEM_EVENT


# Interrupts

INTERRUPTED = {
    "plain": ((ADD_X0_1,), {}, PC + 4, EL1H | MASKED),
    "branch": ((B_SELF,), {}, PC, EL1H | MASKED),
    "svc": ((SVC,), {}, VECTOR, EL1H | MASKED),
    "undefined": ((UNDEFINED,), {}, VECTOR, EL1H | MASKED),
    "load-exclusive": ((LDXR_X0_X1,), {1: DATA}, PC + 4, EL1H | MASKED),
    "eret": ((ERET,), {}, PC + 0x40, EL0T),
}
PINS = pytest.mark.parametrize("serror", [False, True], ids=["IRQ", "SError"])


def interrupted_user(kind):
    words, x, pc, pstate = INTERRUPTED[kind]
    user = stepped_user(*words, x=x, spsr_el1=EL0T, elr_el1=PC + 0x40)
    return user, pc, pstate


@PINS
@pytest.mark.parametrize("kind", INTERRUPTED)
def test_an_interrupt_before_the_instruction_leaves_the_step_to_come(kind, serror):
    user, pc, pstate = interrupted_user(kind)
    user.engine.kick_after, user.engine.serror = 0, serror
    assert step(user, pc)
    first = Exit.SERROR if serror else Exit.IRQ
    assert [switch.exit for switch in user.vm.switches] == [first, Exit.SYNC]
    assert user.get("pstate") == pstate


@PINS
@pytest.mark.parametrize("kind", INTERRUPTED)
@pytest.mark.parametrize("async_first", [False, True])
def test_an_interrupt_after_the_instruction_ends_the_step(kind, async_first, serror):
    user, pc, pstate = interrupted_user(kind)
    engine = user.engine
    engine.kick_after, engine.async_first, engine.serror = 1, async_first, serror
    assert step(user, pc)
    first = Exit.SERROR if serror else Exit.IRQ
    exits = [switch.exit for switch in user.vm.switches]
    assert exits == [first if async_first else Exit.SYNC]
    assert user.get("pstate") == pstate


def test_a_signal_before_the_instruction_leaves_the_guest_as_it_is():
    user, pc, _ = interrupted_user("plain")
    user.engine.kick_after = 0
    before = user.cpu.copy_of_regs()
    assert user.run(signal=True) < 0
    assert (user.page.exit_reason, guest_events(user)) == (ExitReason.INTR, [])
    after = user.cpu.regs
    assert (after.spsr, after.elr, after.x, after.mdscr_el1) == (
        before.spsr,
        before.elr,
        before.x,
        before.mdscr_el1,
    )
    assert step(user, pc)


def test_a_signal_after_the_instruction_is_a_step_first():
    user, pc, _ = interrupted_user("plain")
    user.engine.kick_after, user.engine.async_first = 1, True
    assert user.run(signal=True) == 0
    assert (user.page.exit_reason, user.get("pc")) == (ExitReason.DEBUG, pc)
    assert [switch.exit for switch in user.vm.switches] == [Exit.IRQ]


@pytest.mark.parametrize("word", [ADD_X0_1, B_SELF, SVC, UNDEFINED, WFI, HVC, LDXR_X0_X1])
@pytest.mark.parametrize(("pstate", "offset"), [(EL0T, 0x480), (EL1T, 0x080), (EL1H, 0x280)])
def test_a_virtual_interrupt_is_one_step_in_place_of_the_instruction(word, pstate, offset):
    user = stepped_user(word, pstate=pstate, x={0: 5})
    user.vm.set_virtual_irq(user.cpu, True)
    assert step(user, VECTORS + offset)
    assert (user.get("spsr_el1"), user.get("elr_el1"), user.get("x0")) == (pstate, PC, 5)
    assert user.get("pstate") == EL1H | MASKED


# What is the guest's own


def test_mdscr_el1_is_the_guests_own_though_it_is_stepped():
    user = stepped_user(msr("MDSCR_EL1", 1), mrs("MDSCR_EL1", 2), NOP, x={1: 0xA000})
    assert step(user, PC + 4, 0)
    assert step(user, PC + 8, 0)
    assert step(user, PC + 12)
    assert (user.get("mdscr_el1"), user.get("x2")) == (0xA000, 0xA000)


def test_a_locked_os_lock_of_the_guest_does_not_stop_the_step():
    user = stepped_user(ADD_X0_1, mrs("OSLSR_EL1", 2), msr("OSLAR_EL1", 31), NOP, os_lock=1)
    assert step(user, PC + 4)
    assert user.cpu.regs.os_lock == 1
    assert step(user, PC + 8, 0)
    assert user.get("x2") == 0xA
    assert step(user, PC + 12, 0)
    assert user.cpu.regs.os_lock == 0
    assert step(user, PC + 16)


def test_the_os_lock_that_a_guest_locks_is_locked_for_it_alone():
    user = stepped_user(msr("OSLAR_EL1", 1), NOP, x={1: 1})
    assert step(user, PC + 4, 0)
    assert step(user, PC + 8)
    assert user.cpu.regs.os_lock == 1


def test_a_locked_os_lock_stops_the_guests_own_stepping_though_it_is_stepped():
    user = stepped_user(NOP, NOP, pstate=EL0T, mdscr_el1=MDSCR_SS, os_lock=1)
    assert step(user, PC + 4)
    assert step(user, PC + 8)


@pytest.mark.parametrize(
    ("words", "esr"),
    [
        ((NOP,), 0xCB00_0022),
        ((LDXR_X0_X1,), 0xCB00_0062),
        ((ISB,), 0xCB00_0022),
        ((B_SELF,), 0xCB00_0022),
    ],
)
def test_a_guest_that_steps_its_el0_does_so_while_it_is_stepped(words, esr):
    user = stepped_user(*words, x={1: DATA}, pstate=EL0T | SS | NZCV, mdscr_el1=MDSCR_SS)
    pc = PC if words[0] == B_SELF else PC + 4
    assert step(user, pc)
    assert user.get("pstate") == EL0T | NZCV
    assert step(user, VECTORS + LOWER_EL, events=0)
    assert user.vm.switches == []
    assert (user.get("esr_el1"), user.get("elr_el1")) == (esr, pc)
    assert (user.get("spsr_el1"), user.get("pstate")) == (EL0T | NZCV, EL1H | MASKED | NZCV)
    assert user.get("mdscr_el1") == MDSCR_SS


@pytest.mark.parametrize("word", [UNDEFINED, BRK])
def test_a_fault_in_the_guests_own_step_saves_its_ss(word):
    user = stepped_user(word, pstate=EL0T | SS, mdscr_el1=MDSCR_SS)
    assert step(user, VECTORS + LOWER_EL, events=word == UNDEFINED)
    assert user.get("spsr_el1") == EL0T | SS


def test_a_call_in_the_guests_own_step_saves_no_ss():
    user = stepped_user(SVC, pstate=EL0T | SS, mdscr_el1=MDSCR_SS)
    assert step(user, VECTORS + LOWER_EL)
    assert user.get("spsr_el1") == EL0T


@ADVANCES
def test_an_access_in_the_guests_own_step_ends_it(advance_first):
    there = {"pstate": EL0T | SS, "mdscr_el1": MDSCR_SS, "x": {1: DEVICE}}
    user = stepped_user(LDR_X0_X1, advance_first=advance_first, **there)
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.MMIO
    assert step(user, PC + 4, events=0)
    assert user.get("pstate") == EL0T
    assert step(user, VECTORS + LOWER_EL, events=0)
    assert user.get("esr_el1") == 0xCB00_0022


@ADVANCES
def test_an_access_that_aborts_in_the_guests_own_step_saves_its_ss(advance_first):
    there = {"pstate": EL0T | SS, "mdscr_el1": MDSCR_SS, "x": {1: DEVICE}}
    user = stepped_user(LDR_X0_X1, advance_first=advance_first, **there)
    assert user.run() == 0
    assert user.vm.inject_external_abort(user.cpu) == 0
    assert step(user, VECTORS + LOWER_EL, events=0)
    assert user.get("spsr_el1") == EL0T | SS


@pytest.mark.parametrize("word", [NOP, B_SELF, SVC, UNDEFINED])
def test_a_virtual_interrupt_in_the_guests_own_step_saves_its_ss(word):
    user = stepped_user(word, pstate=EL0T | SS, mdscr_el1=MDSCR_SS)
    user.vm.set_virtual_irq(user.cpu, True)
    assert step(user, VECTORS + 0x480)
    assert user.get("spsr_el1") == EL0T | SS


def test_an_interrupt_after_a_load_exclusive_does_not_change_the_guests_own_syndrome():
    there = {"pstate": EL0T | SS, "mdscr_el1": MDSCR_SS, "x": {1: DATA}}
    user = stepped_user(LDXR_X0_X1, **there)
    user.engine.kick_after, user.engine.async_first = 1, True
    assert step(user, PC + 4)
    assert [switch.exit for switch in user.vm.switches] == [Exit.IRQ]
    assert step(user, VECTORS + LOWER_EL, events=0)
    assert user.get("esr_el1") == 0xCB00_0062


# Whole guests that step themselves


def end_of(image):
    """How a program has gone when the PE runs it alone: its log, as memory has it."""
    pe = Processor()
    for address, content in image.segments:
        pe.write_memory(address, content)
    pe.run(max_rows=20_000, stop=lambda row: row.pc_after == image.symbols["end"])
    return pe.read_memory(image.symbols["result"], 0x220)


@pytest.mark.parametrize(
    ("name", "every"),
    [
        ("self_el0", None),
        ("self_el0", 1),
        ("self_el0", 3),
        ("self_el1", None),
        ("self_el1", 1),
        ("self_el1", 2),
    ],
)
def test_a_guest_that_steps_itself_sees_what_bare_hardware_shows_it(name, every):
    """`every`: which steps an interrupt comes after, every so many of them."""
    guest = programs.load(name)
    alone = end_of(programs.guest(name))
    user = User(upstream(), guest, KickedEngine())
    user.debug(STEPPING)
    for n in range(3000):
        if every and n % every == 0:
            user.engine.kick_after, user.engine.async_first = 1, bool(n & 1)
        assert user.run() == 0
        assert user.page.exit_reason == ExitReason.DEBUG
        assert len(guest_events(user)) <= 1
        if user.get("pc") == guest.symbols["end"]:
            break
    assert user.get("pc") == guest.symbols["end"]
    assert user.engine.read(guest.symbols["result"], 0x220) == alone
    assert user.cpu.log == []


# Off


def entered_with(user):
    """The system registers that EL2 has written on the last entry."""
    names = {SYSREGS[name].number: name for name in ("MDSCR_EL1", "MDCR_EL2", "SPSR_EL2")}
    rows = user.vm.switches[-1].ran.rows
    entry = max(n for n, row in enumerate(rows) if row.el == EL.EL2 and row.event == Event.ERET)
    return {names[row.sys_reg]: row.sys_value for row in rows[:entry] if row.sys_reg in names}


@pytest.mark.parametrize("mdscr", [0, MDSCR_SS, KDE | MDSCR_SS])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_switched_off_nothing_of_the_host_is_left(mdscr, steps):
    user = stepped_user(NOP, NOP, NOP, *mov(0, 0x8400_0008), HVC, mdscr_el1=mdscr)
    for _ in range(steps):
        user.run()
    user.debug(0)
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.SYSTEM_EVENT
    expected = {"MDSCR_EL1": mdscr, "MDCR_EL2": TDOSA, "SPSR_EL2": EL1H | MASKED}
    assert entered_with(user) == expected
    assert (user.get("mdscr_el1"), user.get("pstate")) == (mdscr, EL1H | MASKED)
    assert not user.cpu.regs.mdcr_el2 & TDE


@pytest.mark.parametrize("control", [0, 1])
def test_without_single_steps_none_is_reported(control):
    user = stepped_user(*[NOP] * 5, *mov(0, 0x8400_0008), HVC)
    user.debug(control)
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.SYSTEM_EVENT


def test_software_breakpoints_and_steps_go_together():
    user = stepped_user(NOP, BRK)
    user.debug(ENABLE_SW_BP | STEPPING)
    assert step(user, PC + 4)
    assert user.run() == 0
    assert user.page.exit_reason == ExitReason.DEBUG
    assert (user.page.debug.exit_type, user.page.debug.address) == (DebugExit.SW_BKPT, PC + 4)


def test_it_states_to_suppress_the_guests_own_stepping_with_software_breakpoints_alone():
    suppresses = upstream().suppresses
    controls = (0, 1, 2, 3, ENABLE_SW_BP, ENABLE_SW_BP | STEPPING, 0x1_0000)
    assert [suppresses(control) for control in controls] == [
        False,
        False,
        False,
        False,
        True,
        False,
        False,
    ]


def test_software_breakpoints_alone_keep_the_guests_own_stepping_back():
    user = stepped_user(NOP, NOP, BRK, pstate=EL0T, mdscr_el1=MDSCR_SS)
    user.debug(ENABLE_SW_BP)
    assert user.run() == 0
    assert user.page.debug.exit_type == DebugExit.SW_BKPT
    assert (user.get("pc"), user.get("mdscr_el1")) == (PC + 8, MDSCR_SS)
